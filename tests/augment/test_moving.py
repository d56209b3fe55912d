"""Masks, boxes and key points that move with their image, against torchvision's own affine transformation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from dabo_ray.augment.affine import AffineMatrixAugmenter
from dabo_ray.augment.fixed import Params
from dabo_ray.augment.policy import PolicyAugmenter
from dabo_ray.augment.transform import LearnedTransform

SIZES = [(40, 40), (40, 60), (33, 99)]
ANGLE, SCALE, SHARES = 25.0, 1.2, (0.1, -0.05)
"""What is done: degrees clockwise, as torchvision counts; magnification; moves to the right and down, of the sides."""

BOXES = {
    "XYXY": [[10.0, 12.0, 20.0, 30.0], [0.0, 0.0, 5.0, 5.0]],
    "XYWH": [[10.0, 12.0, 10.0, 18.0]],
    "CXCYWH": [[15.0, 21.0, 10.0, 18.0]],
    "XYWHR": [[10.0, 12.0, 10.0, 18.0, 30.0]],
    "CXCYWHR": [[15.0, 21.0, 10.0, 18.0, 30.0]],
    "XYXYXYXY": [[10.0, 12.0, 20.0, 12.0, 20.0, 30.0, 10.0, 30.0]],
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Known(AffineMatrixAugmenter):
    """Turns, magnifies and moves every picture alike."""

    def decide(self, draws: Tensor, context: Tensor | None = None) -> Params:
        angle = math.radians(ANGLE)
        # The map reads: the inverse of what is done to the picture.
        inverse = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) / SCALE
        return (torch.tensor(inverse).float().expand(len(draws), 2, 2), self._offset(inverse, len(draws)))

    def _offset(self, inverse: np.ndarray, count: int) -> Tensor:
        height, width = self.size
        offset = -inverse @ np.array([SHARES[0] * width, SHARES[1] * height]) * 2 / np.array([width, height])
        return torch.tensor(offset).float().expand(count, 2)

    def change(self, images: Tensor, decided: Params) -> Tensor:
        return super().change(images, (self.maps(decided),))

    def maps(self, decided: Params) -> Tensor:
        return decided[0] if len(decided) == 1 else torch.cat((decided[0], decided[1][:, :, None]), 2)

    size = (0, 0)


def known(height: int, width: int) -> LearnedTransform:
    augmenter = Known()
    augmenter.size = (height, width)
    return LearnedTransform(augmenter)


def by_torchvision(inpt: Any, height: int, width: int, **options: Any) -> Any:
    shifts = [SHARES[0] * width, SHARES[1] * height]
    return tv.affine(inpt, angle=ANGLE, translate=shifts, scale=SCALE, shear=[0.0, 0.0], **options)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_images_and_masks(height, width) -> None:
    transform = known(height, width)
    image = tv_tensors.Image(torch.rand(3, height, width, generator=seeded()))
    mask = tv_tensors.Mask(torch.randint(0, 9, (2, height, width), generator=seeded()))
    moved, moved_mask = transform(image, mask)
    expected = by_torchvision(image, height, width, interpolation=InterpolationMode.BILINEAR)
    torch.testing.assert_close(moved, expected, atol=1e-4, rtol=0)
    assert type(moved_mask) is tv_tensors.Mask and moved_mask.dtype == torch.int64
    assert (moved_mask != by_torchvision(mask, height, width)).float().mean() < 0.002


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("kind", BOXES)
@pytest.mark.parametrize("clamping_mode", ["soft", "hard", None])
def test_boxes_of_every_format(height, width, kind, clamping_mode) -> None:
    boxes = tv_tensors.BoundingBoxes(
        torch.tensor(BOXES[kind]), format=kind, canvas_size=(height, width), clamping_mode=clamping_mode
    )
    _, moved = known(height, width)(tv_tensors.Image(torch.zeros(3, height, width)), boxes)
    expected = by_torchvision(boxes, height, width)
    assert type(moved) is tv_tensors.BoundingBoxes
    assert (moved.format, moved.canvas_size, moved.dtype) == (boxes.format, boxes.canvas_size, boxes.dtype)
    torch.testing.assert_close(moved, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("shape", [(5, 2), (2, 3, 2, 2), (0, 2)])
def test_key_points_and_whole_boxes(height, width, shape) -> None:
    points = tv_tensors.KeyPoints(30 * torch.rand(shape, generator=seeded()), canvas_size=(height, width))
    boxes = tv_tensors.BoundingBoxes([[5, 6, 17, 30]], format="XYXY", canvas_size=(height, width))
    _, moved, moved_boxes = known(height, width)(torch.zeros(3, height, width), points, boxes)
    torch.testing.assert_close(moved, by_torchvision(points, height, width), atol=1e-3, rtol=0)
    assert moved_boxes.dtype == torch.int64
    assert (moved_boxes - by_torchvision(boxes, height, width)).abs().max() <= 1


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16, torch.uint16, torch.int64, torch.float64])
def test_masks_keep_their_values(dtype) -> None:
    values = torch.arange(3, 1603).view(40, 40).to(dtype)
    moved = known(40, 40)(torch.zeros(3, 40, 40), tv_tensors.Mask(values))[1]
    assert moved.dtype == dtype
    assert set(moved.flatten().tolist()) <= {*values.flatten().tolist(), 0}
    assert moved[20, 20] != 0


def test_a_mask_alone_and_masks_of_a_batch() -> None:
    transform = known(12, 10)
    mask = tv_tensors.Mask(torch.arange(120).view(12, 10))
    alone = transform(mask)
    both, masks = transform(torch.zeros(2, 3, 12, 10), tv_tensors.Mask(mask.expand(2, 12, 10)))
    assert both.shape == (2, 3, 12, 10)
    assert torch.equal(masks[0], alone) and torch.equal(masks[1], alone)


def test_a_video_moves_as_a_whole() -> None:
    frame = torch.rand(3, 40, 60, generator=seeded())
    moved = known(40, 60)(tv_tensors.Video(frame.expand(4, 3, 40, 60)))
    expected = known(40, 60)(frame)
    assert type(moved) is tv_tensors.Video
    assert all(torch.equal(part, expected) for part in moved.as_subclass(Tensor))


def test_pictures_of_pil() -> None:
    image = Image.fromarray(torch.randint(0, 256, (40, 60, 3), dtype=torch.uint8, generator=seeded()).numpy())
    expected = by_torchvision(image, 40, 60, interpolation=InterpolationMode.BILINEAR)
    difference = np.abs(np.asarray(known(40, 60)(image)).astype(int) - np.asarray(expected))
    assert difference.max() <= 1


def test_a_flip_goes_before_the_warp() -> None:
    """Masks follow a policy's flip and warp: an image of a mask's own values shows it, read to the nearest pixel."""
    made = PolicyAugmenter(operations=["flip", "rotation", "translation"])
    with torch.no_grad():
        made.log_spread.fill_(math.log(0.3))
        made.logit.fill_(0.0)
    transform = LearnedTransform(made)
    values = torch.zeros(1, 41, 41)
    values[:, 12:20, 24:36] = 1
    torch.manual_seed(0)
    flips = 0
    for _ in range(12):
        image, mask, points = transform(
            tv_tensors.Image(values),
            tv_tensors.Mask(values[0]),
            tv_tensors.KeyPoints([[30.0, 16.0]], canvas_size=(41, 41)),
        )
        assert (image[0] - mask).abs().max() <= 0.75 + 1e-4
        y, x = (mask * torch.arange(41.0)[:, None]).sum() / mask.sum(), (mask * torch.arange(41.0)).sum() / mask.sum()
        if mask.sum() > 90:
            assert points[0].tolist() == pytest.approx([float(x) + 0.5, float(y) + 0.5], abs=0.6)
            flips += float(x) < 20
    assert 0 < flips < 12
