"""Labelled images and parts of them."""

from __future__ import annotations

import pytest
import torch

from dabo_ray.data.images import Images

PIXELS = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 3, 4, 5)


def test_a_part_of_a_part_has_its_own_rows_in_their_order() -> None:
    whole = Images(PIXELS, torch.arange(6), wholes=torch.arange(6) // 2, groups=torch.arange(6) // 4)
    part = whole.take(torch.tensor([5, 3, 1])).take(torch.tensor([2, 0]))
    assert part.pixels is PIXELS
    assert part.images[:, 0, 0, 0].tolist() == part.labels.tolist() == [1, 5]
    assert part.wholes is not None and part.wholes.tolist() == [0, 2]
    assert part.groups is not None and part.groups.tolist() == [0, 1]
    assert part.read(torch.tensor([1]))[:, 0, 0, 0].tolist() == [5]


def test_pixels_must_be_a_batch() -> None:
    with pytest.raises(ValueError, match=r"shape \(6, 4, 5\); give \(M, C, H, W\)"):
        Images(PIXELS[:, 0], torch.arange(6))


@pytest.mark.parametrize(
    "given", [{"labels": torch.arange(5)}, {"maps": torch.eye(2, 3)[None]}, {"groups": torch.ones(7)}]
)
def test_there_must_be_one_of_each_for_every_image(given) -> None:
    ((name, values),) = given.items()
    with pytest.raises(ValueError, match=f"got {len(values)} {name} for 6 images"):
        Images(**{"pixels": PIXELS, "labels": torch.arange(6), **given})


def test_digest_tells_images_apart():
    images = Images(PIXELS[:4, :1, :3, :3], torch.arange(4))
    other_pixel, other_label = images.images.clone(), images.labels.clone()
    other_pixel[3, 0, 2, 2] ^= 1
    other_label[0] = 1
    digests = {
        images.digest(),
        Images(other_pixel, images.labels).digest(),
        Images(images.images, other_label).digest(),
        images.take(torch.tensor([1, 0, 2, 3])).digest(),
        Images(images.images, images.labels, groups=torch.arange(4)).digest(),
    }
    assert len(digests) == 5
    assert images.digest() == images.take(torch.arange(4)).digest()
