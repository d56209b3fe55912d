"""Scenes of scikit-learn's digits with the class of every pixel: a segmentation data set that needs no files."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

SIDE, DIGIT, CELL = 24, 10, 12
"""Pixels of a scene's side, of a digit's, and of a quarter's in which it stands."""

DIGITS = 4
"""Of a scene, one in each of its quarters."""

INK = 96
"""Level from which on a pixel belongs to its digit."""

NOISE = 64
"""Brightest level of the background."""

NUM_CLASSES = 6
"""The background and the digits 0 to 4, in this order."""


def digit_scenes(digits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Scenes of the digits 0 to 4, each used once, so that scenes share none.

    Args:
        digits: (N, 1, 8, 8) uint8.
        labels: (N,) int64, 0 to 9.

    Returns:
        (M, 1, 24, 24) uint8 images, always the same ones, and (M, 24, 24) uint8 masks, four digits in each.
    """
    generator = torch.Generator().manual_seed(0)
    digits, labels = digits[labels < NUM_CLASSES - 1], labels[labels < NUM_CLASSES - 1]
    num_scenes = len(digits) // DIGITS
    order = torch.randperm(len(digits), generator=generator)[: num_scenes * DIGITS].view(num_scenes, DIGITS)
    large = interpolate(digits.float(), (DIGIT, DIGIT), mode="bilinear").round().to(torch.uint8)[:, 0]
    images = torch.randint(0, NOISE, (num_scenes, 1, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    masks = torch.zeros(num_scenes, SIDE, SIDE, dtype=torch.uint8)
    corners = torch.randint(0, CELL - DIGIT + 1, (num_scenes, DIGITS, 2), generator=generator)
    for scene in range(num_scenes):
        for quarter, (digit, (down, right)) in enumerate(
            zip(order[scene].tolist(), corners[scene].tolist(), strict=True)
        ):
            top, left = CELL * (quarter // 2) + down, CELL * (quarter % 2) + right
            here = slice(top, top + DIGIT), slice(left, left + DIGIT)
            images[scene, 0][here] = torch.maximum(images[scene, 0][here], large[digit])
            masks[scene][here].masked_fill_(large[digit] >= INK, int(labels[digit]) + 1)
    return images, masks
