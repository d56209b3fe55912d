"""One contract for all hand-made augmentation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dabo_ray.augment.augmix import AugMix
from dabo_ray.augment.autoaugment import AutoAugment
from dabo_ray.augment.color_jitter import ColorJitter
from dabo_ray.augment.erasing import Cutout, RandomErasing
from dabo_ray.augment.fast_autoaugment import KINDS, FastAutoAugment
from dabo_ray.augment.fixed import Compose, FixedAugmentation, Identity
from dabo_ray.augment.geometric import Crop, Flip, FlipCrop, RandomAffine
from dabo_ray.augment.mixing import CutMix, Mixup
from dabo_ray.augment.randaugment import RandAugment, TrivialAugmentWide

BY_ITSELF: dict[str, FixedAugmentation] = {
    "none": Identity(),
    "flip": Flip(),
    "crop": Crop(),
    "flip_crop": FlipCrop(),
    "affine": RandomAffine(),
    "color_jitter": ColorJitter(hue=0.2),
    "cutout": Cutout(),
    "random_erasing": RandomErasing(),
    "autoaugment": AutoAugment(),
    "randaugment": RandAugment(),
    "trivialaugment": TrivialAugmentWide(),
    "augmix": AugMix(),
    "policy": FastAutoAugment([[(name, 0.5, 0.7)] for name in KINDS]),
    "compose": Compose([FlipCrop(), ColorJitter(), Cutout()]),
}
"""These look at each image by itself."""

MADE = BY_ITSELF | {"mixup": Mixup(10), "cutmix": CutMix(10), "mixed twice": Compose([Flip(), Mixup(10), CutMix(10)])}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("shape", [(16, 3, 32, 32), (1, 1, 8, 8), (5, 3, 12, 20), (6, 1, 33, 9), (1, 3, 2, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_contract(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    images = torch.rand(shape, generator=seeded(), dtype=dtype)
    before = images.clone()
    once, again = (MADE[name](images, seeded(3)) for _ in range(2))
    assert once.shape == images.shape
    assert once.dtype == images.dtype
    assert once.min() >= 0 and once.max() <= 1
    assert torch.equal(once, again)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", BY_ITSELF)
def test_rows_of_the_parameters_belong_to_rows_of_the_images(noise, name: str) -> None:
    augment = BY_ITSELF[name]
    images = noise(64, 3, 16, 16) / 255
    params = augment.draw(64, seeded())
    whole = augment.apply(images, params)
    for rows in (slice(0, 32), slice(32, 64), slice(5, 6)):
        torch.testing.assert_close(augment.apply(images[rows], tuple(values[rows] for values in params)), whole[rows])


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("shape", [(16, 3, 32, 32), (7, 1, 9, 14), (36, 3, 64, 64)])
def test_levels_are_images(noise, name: str, shape: tuple[int, ...]) -> None:
    levels = noise(*shape).to(torch.uint8)
    before = levels.clone()
    params = MADE[name].draw(len(levels), seeded())
    output = MADE[name].apply_uint8(levels, params)
    assert torch.equal(output, MADE[name].apply(levels / 255, params))
    labels = torch.arange(len(levels)) % 10
    assert torch.equal(MADE[name].targets(labels, levels, params), MADE[name].targets(labels, levels / 255, params))
    assert torch.equal(levels, before)


@pytest.mark.parametrize("name", MADE)
def test_how_images_lie_in_memory_does_not_matter(noise, name: str) -> None:
    levels, params = noise(16, 3, 12, 20), MADE[name].draw(16, seeded())
    expected, expected_of_levels = MADE[name].apply(levels / 255, params), MADE[name].apply_uint8(levels, params)
    channels_last = levels.to(memory_format=torch.channels_last)
    every_second_column = levels.repeat_interleave(2, dim=3)[..., ::2]
    for same in (channels_last, every_second_column):
        assert torch.equal(MADE[name].apply_uint8(same, params), expected_of_levels)
        images = torch.empty_like(same, dtype=torch.float32).copy_(same / 255)
        torch.testing.assert_close(MADE[name].apply(images, params), expected)


@pytest.mark.parametrize("name", MADE)
def test_no_images_give_none(name: str) -> None:
    levels = torch.zeros(0, 3, 8, 8, dtype=torch.uint8)
    assert MADE[name].apply_uint8(levels, MADE[name].draw(0, seeded())).shape == levels.shape


@pytest.mark.parametrize("name", MADE)
def test_only_bytes_are_levels(name: str) -> None:
    with pytest.raises(ValueError, match="give a uint8 batch"):
        MADE[name].apply_uint8(torch.rand(4, 3, 8, 8), MADE[name].draw(4, seeded()))


@pytest.mark.parametrize("name", [name for name in MADE if name != "none"])
def test_another_seed_gives_other_images(noise, name: str) -> None:
    images = noise(64, 3, 16, 16) / 255
    assert not torch.equal(MADE[name](images, seeded(0)), MADE[name](images, seeded(1)))


@pytest.mark.parametrize("name", [name for name in MADE if name != "none"])
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(4, 2, 8, 8), "1 or 3 channels"),
        (torch.rand(3, 8, 8), "batch"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), "floating point"),
        (torch.rand(3, 3, 8, 8), "3 images but parameters for"),
    ],
)
def test_bad_input_is_refused(name: str, images: Tensor, message: str) -> None:
    augment = MADE[name]
    with pytest.raises(ValueError, match=message):
        augment.apply(images, augment.draw(4, seeded()))


@pytest.mark.parametrize("name", BY_ITSELF)
def test_labels_stay_where_images_are_not_mixed(noise, name: str) -> None:
    labels, images = torch.arange(8), noise(8, 3, 8, 8) / 255
    assert BY_ITSELF[name].targets(labels, images, BY_ITSELF[name].draw(8, seeded())) is labels


def test_a_composition_is_its_steps_one_after_the_other(noise) -> None:
    steps = [Crop(padding=2), Identity(), ColorJitter(), Flip()]
    images = noise(32, 3, 16, 16) / 255
    generator = seeded(4)
    params = [step.draw(32, generator) for step in steps]
    expected = images
    for step, own in zip(steps, params, strict=True):
        expected = step.apply(expected, own)
    assert torch.equal(Compose(steps)(images, seeded(4)), expected)


def test_labels_are_mixed_as_often_as_images() -> None:
    images, labels = torch.rand(6, 3, 8, 8, generator=seeded()), torch.tensor([0, 1, 2, 0, 1, 2])
    both = Compose([Mixup(3), CutMix(3)])
    params = both.draw(6, seeded(1))
    once = Mixup(3).targets(labels, images, params[:1])
    assert torch.equal(both.targets(labels, images, params), CutMix(3).targets(once, images, params[1:]))
    torch.testing.assert_close(both.targets(labels, images, params).sum(1), torch.ones(6))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Crop(padding=-1), "padding=-1; give 0 or more"),
        (lambda: FlipCrop(padding=-1), "padding=-1; give 0 or more"),
        (lambda: ColorJitter(contrast=-0.1), "contrast=-0.1.*at least 0"),
        (lambda: ColorJitter(hue=0.6), "hue=0.6.*at most 0.5"),
        (lambda: Cutout(size=0), "size=0; give at least 1"),
        (lambda: RandomErasing(probability=1.1), "probability=1.1.*in"),
        (lambda: RandomErasing(value=-1.0), "value=-1.0.*in"),
        (lambda: RandomErasing(scale=(0.3, 0.2)), r"scale=\(0.3, 0.2\).*low, high"),
        (lambda: RandomErasing(ratio=(0.0, 1.0)), r"ratio=\(0.0, 1.0\).*over 0"),
        (lambda: Mixup(10, alpha=0), "alpha=0; give a number over 0"),
        (lambda: CutMix(10, alpha=-1), "alpha=-1; give a number over 0"),
        (lambda: RandAugment(num_ops=0), "num_ops=0.*1 or more"),
        (lambda: RandAugment(magnitude=31), "magnitude=31.*0 to 30"),
        (lambda: AutoAugment("cifar"), "policy='cifar'; give one of cifar10, imagenet, svhn"),
        (lambda: AugMix(severity=11), "severity=11.*1 to 10"),
        (lambda: AugMix(mixture_width=0), "mixture_width=0.*1 or more"),
        (lambda: AugMix(chain_depth=0), "chain_depth=0.*1 or more"),
        (lambda: AugMix(alpha=0), "alpha=0.*over 0"),
        (lambda: FastAutoAugment([[("Blur", 1.0, 1.0)]]), r"\['Blur'\]; give sub-policies of ShearX"),
        (lambda: FastAutoAugment([]), "empty policy"),
        (lambda: FastAutoAugment([[]]), "empty policy or sub-policy"),
    ],
)
def test_settings_that_are_refused(make: Callable[[], FixedAugmentation], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
