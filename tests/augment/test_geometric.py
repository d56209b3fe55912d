"""Mirroring, cropping and affine maps, with torchvision as the oracle."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest
from torchvision.transforms.v2 import functional as tv
from torchvision.transforms.v2.functional import InterpolationMode

from dabo_ray.augment.geometric import Crop, Flip, FlipCrop, RandomAffine


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_flip_mirrors_half_of_the_images(noise) -> None:
    images = noise(1000, 1, 4, 4) / 255
    (mirrored,) = params = Flip().draw(1000, seeded())
    output = Flip().apply(images, params)
    assert 420 < int(mirrored.sum()) < 580
    assert torch.equal(output[mirrored], images[mirrored].flip(-1))
    assert torch.equal(output[~mirrored], images[~mirrored])


@pytest.mark.parametrize(("height", "width"), [(32, 32), (8, 24), (7, 7)])
def test_flip_crop_equals_pad_crop_flip_one_by_one(noise, height: int, width: int) -> None:
    images = noise(300, 3, height, width) / 255
    corners, mirrored = params = FlipCrop().draw(300, seeded())
    output = FlipCrop().apply(images, params)
    margin_y, margin_x = height // 8, width // 8
    seen = set()
    for image, out, (top_share, left_share), flip in zip(images, output, corners.tolist(), mirrored, strict=True):
        top, left = int(top_share * (2 * margin_y + 1)), int(left_share * (2 * margin_x + 1))
        seen.add((top, left))
        crop = tv.crop(tv.pad(image, [margin_x, margin_y]), top, left, height, width)
        assert torch.equal(out, tv.horizontal_flip(crop) if flip else crop)
    assert {top for top, _ in seen} == set(range(2 * margin_y + 1))
    assert {left for _, left in seen} == set(range(2 * margin_x + 1))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (28, 17)])
def test_random_affine_equals_torchvision(digits, height: int, width: int) -> None:
    images = digits(40, height, width) / 255
    augment = RandomAffine(degrees=40, translate=0.2, scale=(0.7, 1.4))
    angles, shifts, scales = params = augment.draw(40, seeded())
    output = augment.apply(images, params)
    for index in range(40):
        # torchvision's affine turns clockwise.
        expected = tv.affine(
            images[index],
            angle=-float(angles[index]),
            translate=[float(shifts[index, 0]) * width, float(shifts[index, 1]) * height],
            scale=float(scales[index]),
            shear=[0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        torch.testing.assert_close(output[index], expected, atol=2e-5, rtol=0)


def test_random_affine_draws_fill_their_ranges() -> None:
    angles, shifts, scales = RandomAffine().draw(5000, seeded())
    for values, low, high in (
        (angles, -15, 15),
        (shifts[:, 0], -0.1, 0.1),
        (shifts[:, 1], -0.1, 0.1),
        (scales, 0.9, 1.1),
    ):
        room = (high - low) / 50
        assert low <= values.min() < low + room
        assert high - room < values.max() <= high


def test_random_affine_refuses_bad_ranges() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        RandomAffine(degrees=-1.0)
    with pytest.raises(ValueError, match="at least 0"):
        RandomAffine(translate=-0.1)
    with pytest.raises(ValueError, match="low <= high"):
        RandomAffine(scale=(1.1, 0.9))


def test_a_vertical_flip_turns_images_upside_down(noise) -> None:
    images = noise(20, 3, 5, 7) / 255
    (mirrored,) = params = Flip(vertical=True).draw(20, seeded())
    output = Flip(vertical=True).apply(images, params)
    assert torch.equal(output[mirrored], tv.vertical_flip(images[mirrored]))
    assert torch.equal(output[~mirrored], images[~mirrored])


@pytest.mark.parametrize("padding", [1, 4, 20])
def test_crop_equals_pad_and_crop(noise, padding: int) -> None:
    images = noise(100, 1, 10, 6) / 255
    (corners,) = params = Crop(padding=padding).draw(100, seeded())
    output = Crop(padding=padding).apply(images, params)
    for image, out, corner in zip(images, output, (corners * (2 * padding + 1)).long().tolist(), strict=True):
        assert torch.equal(out, tv.crop(tv.pad(image, [padding]), *corner, 10, 6))


def test_the_corners_of_a_crop_are_uniform(occur_as) -> None:
    (corners,) = Crop().draw(20_000, seeded())
    for axis in (0, 1):
        assert occur_as((corners[:, axis] * 9).long(), torch.ones(9))


def test_random_affine_draws_uniformly() -> None:
    angles, shifts, scales = RandomAffine(degrees=10, translate=0.2, scale=(0.5, 2)).draw(5000, seeded())
    for values, low, high in (
        (angles, -10, 10),
        (shifts[:, 0], -0.2, 0.2),
        (shifts[:, 1], -0.2, 0.2),
        (scales, 0.5, 2),
    ):
        assert kstest(values.numpy(), "uniform", (low, high - low)).pvalue > 1e-3
