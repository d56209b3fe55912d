"""A known change of the images, to see whether an augmenter finds it."""

from __future__ import annotations

import math

import torch

from dabo_ray.augment.ops import affine_warp
from dabo_ray.data.sources import Images


def shifted(images: Images, rotation: float, translation: float, generator: torch.Generator) -> Images:
    """Copies turned by U(-rotation, rotation) degrees and moved by U(-translation, translation) of the side.

    Angle and both moves are drawn anew for each image; bilinear, zero outside, rounded to 8 bits.
    """
    angle, x, y = torch.rand(3, len(images), generator=generator).mul(2).sub(1)
    angle = angle * math.radians(rotation)
    cos, sin = angle.cos(), angle.sin()
    # Affine maps are in units of half the side.
    rows = [torch.stack([cos, -sin, 2 * translation * x], 1), torch.stack([sin, cos, 2 * translation * y], 1)]
    theta = torch.stack(rows, 1)
    chunks = [
        affine_warp(part.float(), theta[start : start + 4096]).round().to(torch.uint8)
        for start in range(0, len(images), 4096)
        for part in (images.images[start : start + 4096],)
    ]
    return Images(torch.cat(chunks), images.labels)
