"""Hand-made augmentation: one contract for all, and torchvision as the oracle."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv
from torchvision.transforms.v2.functional import InterpolationMode

from dabo_ray.augment.fixed import FIXED, TRIVIALAUGMENT_SPACE, Flip, FlipCrop, RandomAffine, TrivialAugmentWide

SIZES = [(8, 8), (28, 28), (32, 32), (17, 40), (64, 64)]
NAMES = list(TRIVIALAUGMENT_SPACE)
CHI2_999 = {2: 10.83, 14: 34.53, 31: 59.70}
"""The 99.9 % quantile of chi-squared with one degree of freedom less than the number of cells."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(num_images: int, channels: int, height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (num_images, channels, height, width), dtype=torch.uint8, generator=seeded(1))


def digits(num_images: int, height: int, width: int) -> Tensor:
    images = torch.from_numpy(load_digits().images[:num_images, None]).float() * 15.9
    return torch.nn.functional.interpolate(images, (height, width), mode="bilinear").to(torch.uint8)


def looks_uniform(counts: Tensor) -> bool:
    expected = counts.sum() / len(counts)
    return bool(((counts - expected) ** 2 / expected).sum() < CHI2_999[len(counts)])


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("shape", [(16, 3, 32, 32), (1, 1, 8, 8), (5, 3, 12, 20), (6, 1, 33, 9), (1, 3, 2, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_contract(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    augment = FIXED[name]()
    images = torch.rand(shape, generator=seeded(), dtype=dtype)
    before = images.clone()
    once, again = (augment(images, seeded(3)) for _ in range(2))
    assert once.shape == images.shape
    assert once.dtype == images.dtype
    assert once.min() >= 0 and once.max() <= 1
    assert torch.equal(once, again)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", FIXED)
def test_rows_of_the_parameters_belong_to_rows_of_the_images(name: str) -> None:
    augment = FIXED[name]()
    images = noise(64, 3, 16, 16) / 255
    params = augment.draw(64, seeded())
    whole = augment.apply(images, params)
    for rows in (slice(0, 32), slice(32, 64), slice(5, 6)):
        assert torch.equal(augment.apply(images[rows], tuple(values[rows] for values in params)), whole[rows])


@pytest.mark.parametrize("name", [name for name in FIXED if name != "none"])
def test_another_seed_gives_other_images(name: str) -> None:
    images = noise(64, 3, 16, 16) / 255
    assert not torch.equal(FIXED[name]()(images, seeded(0)), FIXED[name]()(images, seeded(1)))


@pytest.mark.parametrize("name", [name for name in FIXED if name != "none"])
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(4, 2, 8, 8), "1 or 3 channels"),
        (torch.rand(3, 8, 8), "batch"),
        (noise(4, 3, 8, 8), "floating point"),
        (torch.rand(3, 3, 8, 8), "3 images but parameters for"),
    ],
)
def test_bad_input_is_refused(name: str, images: Tensor, message: str) -> None:
    augment = FIXED[name]()
    with pytest.raises(ValueError, match=message):
        augment.apply(images, augment.draw(4, seeded()))


def test_flip_mirrors_half_of_the_images() -> None:
    images = noise(1000, 1, 4, 4) / 255
    (mirrored,) = params = Flip().draw(1000, seeded())
    output = Flip().apply(images, params)
    assert 420 < int(mirrored.sum()) < 580
    assert torch.equal(output[mirrored], images[mirrored].flip(-1))
    assert torch.equal(output[~mirrored], images[~mirrored])


@pytest.mark.parametrize(("height", "width"), [(32, 32), (8, 24), (7, 7)])
def test_flip_crop_equals_pad_crop_flip_one_by_one(height: int, width: int) -> None:
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
def test_random_affine_equals_torchvision(height: int, width: int) -> None:
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


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_trivialaugment_equals_torchvision_at_every_magnitude(name: str, height: int, width: int) -> None:
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


def test_trivialaugment_draws_uniformly() -> None:
    operations, magnitudes = TrivialAugmentWide().draw(28_000, seeded())
    assert looks_uniform(operations.bincount(minlength=14))
    shears = magnitudes[operations == NAMES.index("ShearX")]
    assert looks_uniform((shears.abs() / 0.033).round().long().bincount(minlength=31))
    assert looks_uniform(torch.stack(((shears > 0).sum(), (shears < 0).sum())))
    assert set(magnitudes[operations == NAMES.index("Posterize")].tolist()) == set(range(2, 9))


def test_trivialaugment_mixes_operations_in_one_batch() -> None:
    images = noise(256, 3, 32, 32)
    operations, magnitudes = params = TrivialAugmentWide().draw(256, seeded())
    output = TrivialAugmentWide().apply(images / 255, params)
    reference = v2.TrivialAugmentWide()
    for image, out, operation, magnitude in zip(images, output, operations.tolist(), magnitudes.tolist(), strict=True):
        expected = reference._apply_image_or_video_transform(
            image, NAMES[operation], magnitude, reference.interpolation, {}
        )
        torch.testing.assert_close(out * 255, expected.float(), atol=1e-4, rtol=0)
