"""A learned augmenter as a transform of torchvision: what it takes, in which process, and what it refuses."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.registry import AUGMENTERS
from dabo_ray.augment.transform import LearnedTransform


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(name: str, **options) -> Augmenter:
    torch.manual_seed(0)
    made = AUGMENTERS[name](hidden=8, **options)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=seeded(3)))
    return made


@pytest.fixture
def affine() -> LearnedTransform:
    return LearnedTransform(shaken("affine"))


def picture(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded(1))


def direct(transform: LearnedTransform, images: Tensor, seed: int, *context: Tensor):
    """What the transform should do to a batch of unit images, by the augmenter itself."""
    (draws,) = transform.augmenter.draw(len(images), seeded(seed))
    return transform.augmenter(images, draws, *context)


@pytest.mark.parametrize("shape", [(3, 12, 10), (1, 12, 10), (5, 3, 8, 8), (2, 3, 1, 8, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_float_tensors(affine, shape, dtype) -> None:
    images = (picture(*shape) / 255).to(dtype)
    torch.manual_seed(4)
    output = affine(images)
    assert type(output) is Tensor
    assert (output.shape, output.dtype) == (images.shape, dtype)
    expected = direct(affine, images.reshape(-1, *shape[-3:]), 4)
    assert torch.equal(output, expected.reshape(shape))
    assert not torch.equal(output, images)


@pytest.mark.parametrize("channels", [1, 3])
def test_all_kinds_of_images_are_changed_alike(affine, channels) -> None:
    levels = picture(channels, 12, 10)
    expected = direct(affine, levels[None] / 255, 4)[0].mul(255).round().to(torch.uint8)
    pil = Image.fromarray(
        levels.permute(1, 2, 0).squeeze(2).numpy() if channels == 1 else levels.permute(1, 2, 0).numpy()
    )
    for image in (levels, tv_tensors.Image(levels), pil):
        torch.manual_seed(4)
        output = affine(image)
        assert type(output) is (Image.Image if image is pil else type(image))
        as_tensor = tv.pil_to_tensor(output) if isinstance(output, Image.Image) else output.as_subclass(Tensor)
        assert torch.equal(as_tensor, expected)
    assert pil.mode == affine(pil).mode == ("L" if channels == 1 else "RGB")


def test_each_image_of_a_batch_has_its_own_draw(affine) -> None:
    image = picture(3, 8, 8)
    output = affine(image.expand(4, 3, 8, 8))
    assert len({tuple(row.flatten().tolist()) for row in output}) == 4


def test_structures_pass_through_as_in_torchvision(affine) -> None:
    image, label, mark = tv_tensors.Image(picture(3, 8, 8)), 7, torch.rand(5)
    sample = {"image": image, "rest": [label, mark, "name", None]}
    torch.manual_seed(4)
    output = affine(sample)
    assert output["rest"][0] == label and output["rest"][1] is mark and output["rest"][2:] == ["name", None]
    torch.manual_seed(4)
    alone, same_label = affine(image, label)
    assert torch.equal(output["image"], alone) and same_label == label
    assert affine("no image at all") == "no image at all"
    composed = v2.Compose([v2.ToImage(), affine, v2.ToDtype(torch.float32, scale=True)])
    assert composed(np.zeros((8, 8, 3), np.uint8)).shape == (3, 8, 8)


def test_images_of_one_sample_move_together(affine) -> None:
    image = tv_tensors.Image(picture(3, 8, 8))
    left, right = affine(image, image)
    assert torch.equal(left, right)
    with pytest.raises(ValueError, match="1 and 2 images"):
        affine(image, tv_tensors.Image(picture(2, 3, 8, 8)))


def test_randomness_is_torchs_global_generator(affine) -> None:
    image = picture(3, 8, 8)
    torch.manual_seed(0)
    first, second = affine(image), affine(image)
    torch.manual_seed(0)
    assert torch.equal(affine(image), first)
    assert not torch.equal(first, second)


class Pictures(Dataset):
    def __init__(self, transform: LearnedTransform) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int):
        return self.transform(tv_tensors.Image(torch.full((3, 8, 8), 200, dtype=torch.uint8)), index)


def test_in_workers_of_a_data_loader(affine) -> None:
    def epoch(seed: int) -> Tensor:
        loader = DataLoader(
            Pictures(affine), batch_size=4, num_workers=2, generator=seeded(seed), multiprocessing_context="fork"
        )
        batches = list(loader)
        assert [label for _, labels in batches for label in labels.tolist()] == list(range(8))
        return torch.cat([images for images, _ in batches])

    once, again, other = epoch(0), epoch(0), epoch(1)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert len({tuple(row.flatten().tolist()) for row in once}) == 8, "workers repeat each other"


def test_a_pickle_does_the_same(affine) -> None:
    image = picture(3, 8, 8)
    torch.manual_seed(1)
    expected = affine(image)
    torch.manual_seed(1)
    assert torch.equal(pickle.loads(pickle.dumps(affine))(image), expected)  # noqa: S301


def test_the_class_decides_and_must_be_given() -> None:
    made = shaken("affine", conditioning="class", num_classes=3)
    transform = LearnedTransform(made)
    images, labels = torch.rand(4, 3, 8, 8, generator=seeded()), torch.tensor([2, 0, 1, 2])
    torch.manual_seed(5)
    output, same = transform(images, labels)
    assert same is labels
    assert torch.equal(output, direct(transform, images, 5, *made.context(images, labels)))
    torch.manual_seed(5)
    single, _ = transform(images[0], 2)
    torch.testing.assert_close(single, output[0])
    with pytest.raises(ValueError, match=r"transform\(image, label\)"):
        transform(images)
    with pytest.raises(ValueError, match=r"transform\(image, label\)"):
        transform(images, torch.rand(4))
    with pytest.raises(ValueError, match="knows 0 to 2"):
        transform(images[0], 3)
    with pytest.raises(ValueError, match="2 labels for 4 images"):
        transform(images, labels[:2])


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (Image.new("RGBA", (8, 8)), ValueError, "mode RGBA"),
        (torch.zeros(2, 8, 8), ValueError, "C = 1 or 3"),
        (torch.zeros(8, 8), ValueError, "C = 1 or 3"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), ValueError, "uint8"),
        (tv_tensors.Mask(torch.zeros(8, 8)), TypeError, "masks"),
        (tv_tensors.Video(torch.zeros(2, 3, 8, 8)), TypeError, "videos"),
    ],
)
def test_images_that_are_refused(affine, image, error, message) -> None:
    with pytest.raises(error, match=message):
        affine(image)
