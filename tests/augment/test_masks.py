"""Masks that are moved with their images, by every augmentation, with torchvision and the images as oracles."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torchvision.transforms.v2 import functional as tv
from torchvision.transforms.v2.functional import InterpolationMode

from dabo_ray.augment import functional as F
from dabo_ray.augment.affine import AffineAugmenter
from dabo_ray.augment.autoaugment import AutoAugment
from dabo_ray.augment.autoaugment_operations import OPERATIONS
from dabo_ray.augment.color_jitter import ColorJitter
from dabo_ray.augment.erasing import Cutout, RandomErasing
from dabo_ray.augment.fast_autoaugment import FastAutoAugment
from dabo_ray.augment.fixed import Compose, FixedAugmentation, Identity
from dabo_ray.augment.frozen import FrozenAugmenter
from dabo_ray.augment.geometric import Crop, Flip, FlipCrop, RandomAffine
from dabo_ray.augment.masks import IGNORED, moved_masks
from dabo_ray.augment.policy import PolicyAugmenter
from dabo_ray.augment.randaugment import RandAugment, TrivialAugmentWide
from dabo_ray.augment.with_masks import augmented_by, class_planes
from dabo_ray.data.images import Images
from dabo_ray.data.shift import Shift, shifted

CLASSES = 5
SIZES = [(16, 16), (20, 13)]


def masks_of(num: int, height: int, width: int) -> Tensor:
    """Large blocks of classes, with some pixels that are ignored, up to the border."""
    generator = torch.Generator().manual_seed(height)
    coarse = torch.randint(0, CLASSES + 1, (num, height // 3 + 1, width // 3 + 1), generator=generator)
    fine = coarse.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, :height, :width]
    return fine.masked_fill(fine == CLASSES, IGNORED).to(torch.uint8)


def drawn(augmentation: FixedAugmentation, masks: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    images = torch.zeros(len(masks), 1, *masks.shape[1:], dtype=torch.uint8)
    return images, augmentation.draw(len(masks), torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("augmentation", [Flip(), Flip(vertical=True), Crop(padding=3), FlipCrop()])
def test_flips_and_crops_move_masks_as_images(augmentation: FixedAugmentation, height: int, width: int) -> None:
    masks = masks_of(60, height, width)
    images, params = drawn(augmentation, masks)
    moved = augmentation.targets(masks, images, params)
    # As images of the levels 1 to 5, ignored pixels and what is outside are black.
    levels = (masks.int() + 1).masked_fill(masks == IGNORED, 0).to(torch.uint8).unsqueeze(1)
    expected = (augmentation.apply_uint8(levels, params) * 255).round().int()[:, 0]
    assert torch.equal(moved.int(), (expected - 1).masked_fill(expected == 0, IGNORED))
    assert not torch.equal(moved, masks)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_affine_maps_move_masks_as_torchvision(height: int, width: int) -> None:
    augment, masks = RandomAffine(degrees=40, translate=0.2, scale=(0.7, 1.4)), masks_of(40, height, width)
    images, params = drawn(augment, masks)
    moved, same = augment.targets(masks, images, params), 0
    angles, shifts, scales = params
    for index in range(40):
        expected = tv.affine(
            masks[None, index],
            angle=-float(angles[index]),
            translate=[float(shifts[index, 0]) * width, float(shifts[index, 1]) * height],
            scale=float(scales[index]),
            shear=[0.0, 0.0],
            interpolation=InterpolationMode.NEAREST,
            fill=[float(IGNORED)],
        )
        same += int((moved[index] == expected[0]).sum())
    # Half way between two pixels rounding decides.
    assert same > 0.999 * masks.numel()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_trivialaugment_moves_masks_by_its_warps_alone(height: int, width: int) -> None:
    augment, masks = TrivialAugmentWide(), masks_of(400, height, width)
    images, params = drawn(augment, masks)
    moved = augment.targets(masks, images, params)
    warps = torch.tensor([OPERATIONS.index(n) for n in ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")])
    is_warp = torch.isin(params[0], warps)
    assert torch.equal(moved[~is_warp], masks[~is_warp]) and 100 < int(is_warp.sum()) < 200
    levels = (masks.int() + 1).masked_fill(masks == IGNORED, 0).to(torch.uint8).unsqueeze(1)
    expected = (augment.apply_uint8(levels, params) * 255).round().int()[:, 0]
    expected = (expected - 1).masked_fill(expected == 0, IGNORED)
    assert torch.equal(moved[is_warp].int(), expected[is_warp])


WARPED = [
    RandAugment(num_ops=3, magnitude=20),
    AutoAugment("svhn"),
    FastAutoAugment([[("Rotate", 1.0, 0.9), ("Cutout", 1.0, 0.5)], [("ShearX", 0.5, 0.1), ("Invert", 1.0, 0.5)]]),
]


@pytest.mark.parametrize("augment", WARPED, ids=lambda augment: type(augment).__name__)
def test_policies_move_masks_with_what_is_seen(augment: FixedAugmentation) -> None:
    """White images become black where what is seen comes from outside; there, and nowhere else, masks are ignored.

    Tones leave white and black as they are, or are drawn with none.
    """
    masks = torch.full((300, 16, 16), 2, dtype=torch.uint8)
    images, params = drawn(augment, masks)
    moved = augment.targets(masks, images, params)
    assert set(moved.unique().tolist()) == {2, IGNORED}
    assert 0.01 < float((moved == IGNORED).float().mean()) < 0.5
    # The same params with another mask move it alike.
    halves = masks.clone()
    halves[:, :8] = 1
    assert torch.equal(augment.targets(halves, images, params) == IGNORED, moved == IGNORED)
    assert torch.equal(augment.targets(masks[7:9], images[7:9], tuple(part[7:9] for part in params)), moved[7:9])


@pytest.mark.parametrize("augmentation", [Identity(), ColorJitter(), Cutout(size=4), RandomErasing()])
def test_what_only_changes_values_leaves_masks(augmentation: FixedAugmentation) -> None:
    masks = masks_of(20, 16, 16)
    assert torch.equal(augmentation.targets(masks, *drawn(augmentation, masks)), masks)


def test_compositions_move_masks_step_by_step() -> None:
    steps = [Flip(), ColorJitter(), Crop(padding=2)]
    masks = masks_of(20, 16, 16)
    images, params = drawn(Compose(steps), masks)
    expected = Crop(padding=2).targets(Flip().targets(masks, images, params[:1]), images, params[-1:])
    assert torch.equal(Compose(steps).targets(masks, images, params), expected)


class Turned(AffineAugmenter):
    """Turns the images of a batch by known angles."""

    ANGLES = torch.tensor([0.0, 25.0, -70.0, 180.0])

    def theta(self, draws: Tensor, context: Tensor | None = None) -> Tensor:
        return F.rotation_matrix(self.ANGLES)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_learned_maps_move_masks_as_torchvision(height: int, width: int) -> None:
    augmenter, masks = Turned(), masks_of(4, height, width)
    images, (draws,) = torch.rand(4, 3, height, width), augmenter.draw(4, torch.Generator().manual_seed(0))
    theta = list(augmenter.parameters())
    augmented, shares = augmented_by(augmenter, theta, images, masks, (draws,), CLASSES)
    planes = class_planes(masks, CLASSES, images)
    assert torch.equal(augmented, augmenter(images, draws))
    for index, angle in enumerate(Turned.ANGLES.tolist()):
        expected = tv.rotate(planes[index], angle, InterpolationMode.BILINEAR)
        torch.testing.assert_close(shares[index], expected, atol=2e-5, rtol=0)
    # And frozen, by the nearest pixel.
    nearest = FrozenAugmenter(augmenter).targets(masks, images, (draws,))
    expected = torch.stack(
        [
            tv.rotate(masks[None, index], angle, fill=[float(IGNORED)])[0]
            for index, angle in enumerate(Turned.ANGLES.tolist())
        ]
    )
    assert float((nearest == expected).float().mean()) > 0.999


def test_a_frozen_policy_moves_masks_where_the_learned_one_does() -> None:
    augmenter = PolicyAugmenter()
    masks = masks_of(50, 16, 16)
    (draws,) = augmenter.draw(50, torch.Generator().manual_seed(0))
    images = torch.rand(50, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        _, shares = augmented_by(augmenter, list(augmenter.parameters()), images, masks, (draws,), CLASSES)
    sure = shares.amax(1) > 0.75
    nearest = FrozenAugmenter(augmenter).targets(masks, images, (draws,))
    assert torch.equal(nearest[sure], shares.argmax(1)[sure].to(torch.uint8))
    assert float(sure.float().mean()) > 0.4


def test_ignored_pixels_have_no_shares() -> None:
    masks = masks_of(3, 16, 16)
    planes = class_planes(masks, CLASSES, torch.zeros((), dtype=torch.float64))
    assert planes.dtype == torch.float64
    assert torch.equal(planes.sum(1) == 0, masks == IGNORED)
    known = masks != IGNORED
    assert torch.equal(planes.permute(0, 2, 3, 1)[known], one_hot(masks[known].long(), CLASSES).double())


def test_every_class_comes_through() -> None:
    masks = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    assert torch.equal(moved_masks(masks, lambda levels: levels), masks)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_masks_of_a_shift_are_moved_with_its_images(height: int, width: int) -> None:
    """Pixels of the images are their classes' levels: after the shift the two still agree, away from edges."""
    masks = masks_of(40, height, width)
    masks = masks.masked_fill(masks == IGNORED, 0)
    images = Images((50 * masks + 5).unsqueeze(1), torch.zeros(40, dtype=torch.int64), masks=masks)
    moved = shifted(images, Shift(rotation=60, zoom_out=0.3), torch.Generator().manual_seed(0))
    every = torch.arange(40)
    levels, found = moved.read(every)[:, 0].int(), moved.read_masks(every)
    is_level = (levels - 5) % 50 == 0
    outside = levels == 0
    inner = is_level & ~outside & (levels >= 5)
    # A blend of two classes may look like a third.
    assert float((found.int()[inner] == (levels[inner] - 5) // 50).float().mean()) > 0.97
    assert (found[outside] == IGNORED).float().mean() > 0.95 and float(outside.float().mean()) > 0.05
    part = moved.take(torch.tensor([3, 1]))
    assert torch.equal(part.read_masks(torch.tensor([1])), found[1:2])


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="masks of shape"):
        Images(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2), masks=torch.zeros(2, 8, 9))
