"""TrivialAugment and RandAugment, with torchvision as the oracle."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from dabo_ray.augment.autoaugment_operations import OPERATIONS
from dabo_ray.augment.randaugment import (
    BINS,
    TRIVIALAUGMENT_SPACE,
    RandAugment,
    TrivialAugmentWide,
    autoaugment_space,
)

SIZES = [(8, 8), (28, 28), (32, 32), (17, 40), (64, 64)]
NAMES = list(TRIVIALAUGMENT_SPACE)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_trivialaugment_equals_torchvision_at_every_magnitude(
    noise, digits, name: str, height: int, width: int
) -> None:
    magnitudes, signed = TRIVIALAUGMENT_SPACE[name]
    strengths = torch.cat((magnitudes, -magnitudes)) if signed else magnitudes
    reference = v2.TrivialAugmentWide()
    operations = torch.full((len(strengths),), NAMES.index(name))
    for images in (noise(len(strengths), 3, height, width), digits(len(strengths), height, width)):
        expected = torch.stack(
            [
                reference._apply_image_or_video_transform(image, name, float(strength), reference.interpolation, {})
                for image, strength in zip(images, strengths, strict=True)
            ]
        )
        output = TrivialAugmentWide().apply(images / 255, (operations, strengths))
        torch.testing.assert_close(output * 255, expected.float(), atol=1e-4, rtol=0)


def test_trivialaugment_has_the_space_of_torchvision() -> None:
    theirs = v2.TrivialAugmentWide._AUGMENTATION_SPACE
    assert list(theirs) == NAMES
    for name, (magnitudes, signed) in TRIVIALAUGMENT_SPACE.items():
        expected, expected_signed = theirs[name]
        values = expected(31, 32, 32)
        assert signed == expected_signed
        assert torch.equal(magnitudes, torch.zeros(31) if values is None else values.float())


def test_trivialaugment_draws_uniformly(occur_as) -> None:
    operations, magnitudes = TrivialAugmentWide().draw(28_000, seeded())
    assert occur_as(operations, torch.ones(14))
    shears = magnitudes[operations == NAMES.index("ShearX")]
    assert occur_as((shears.abs() / 0.033).round().long(), torch.ones(31))
    assert occur_as((shears[shears != 0] > 0).long(), torch.ones(2))
    assert set(magnitudes[operations == NAMES.index("Posterize")].tolist()) == set(range(2, 9))


def test_trivialaugment_mixes_operations_in_one_batch(noise) -> None:
    images = noise(256, 3, 32, 32)
    operations, magnitudes = params = TrivialAugmentWide().draw(256, seeded())
    output = TrivialAugmentWide().apply(images / 255, params)
    reference = v2.TrivialAugmentWide()
    for image, out, operation, magnitude in zip(images, output, operations.tolist(), magnitudes.tolist(), strict=True):
        expected = reference._apply_image_or_video_transform(
            image, NAMES[operation], magnitude, reference.interpolation, {}
        )
        torch.testing.assert_close(out * 255, expected.float(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (17, 40)])
@pytest.mark.parametrize("bins", [10, 31])
def test_the_space_of_autoaugment_is_torchvisions(bins: int, height: int, width: int) -> None:
    ours, theirs = autoaugment_space(bins, height, width), v2.AutoAugment._AUGMENTATION_SPACE
    assert ours.keys() == {"Identity", *theirs}
    assert tuple(ours) == OPERATIONS
    for name, (expected, signed) in theirs.items():
        values = expected(bins, height, width)
        assert ours[name][1] == signed
        assert torch.equal(ours[name][0], torch.zeros(bins) if values is None else values.float())
    assert list(ours)[:-1] == list(v2.RandAugment._AUGMENTATION_SPACE)


@pytest.mark.parametrize("magnitude", [0, 9, 30])
@pytest.mark.parametrize("num_ops", [1, 2, 4])
def test_randaugment_equals_torchvision_on_the_same_draws(noise, num_ops: int, magnitude: int) -> None:
    augment, reference = RandAugment(num_ops=num_ops, magnitude=magnitude), v2.RandAugment()
    images = noise(200, 3, 20, 28)
    operations, negative = params = augment.draw(200, seeded())
    output = augment.apply(images / 255, params) * 255
    for image, out, chain, signs in zip(images, output, operations.tolist(), negative.tolist(), strict=True):
        for number, turned in zip(chain, signs, strict=True):
            name = OPERATIONS[number]
            values, signed = reference._AUGMENTATION_SPACE[name]
            strength = 0.0 if values(BINS, 20, 28) is None else float(values(BINS, 20, 28)[magnitude])
            strength = -strength if signed and turned else strength
            image = reference._apply_image_or_video_transform(image, name, strength, reference.interpolation, {})
        torch.testing.assert_close(out, image.float(), atol=1e-4, rtol=0)


def test_randaugment_draws_uniformly_and_independently(occur_as) -> None:
    operations, negative = RandAugment(num_ops=2).draw(30_000, seeded())
    assert occur_as(operations[:, 0] * 14 + operations[:, 1], torch.ones(14 * 14))
    assert occur_as(negative.long(), torch.ones(2))
