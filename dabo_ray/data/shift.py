"""A known change of the images, to see whether an augmenter finds it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dabo_ray.augment.ops import affine_warp
from dabo_ray.data.sources import Images

CHUNK = 4096
"""Images that are moved at a time."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """A distribution of rotations, moves and zooms around the middle of an image."""

    rotation: float = 0.0
    """Each image is turned by U(-rotation, rotation) degrees."""

    translation: float = 0.0
    """Each image is moved along x and y by U(-translation, translation) of the side."""

    zoom_in: float = 0.0
    zoom_out: float = 0.0
    """Each image is magnified by U(1 - zoom_out, 1 + zoom_in)."""

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return bool(self.rotation or self.translation or self.zoom_in or self.zoom_out)

    def draw(self, num_images: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """A map for each image, (N, 2, 3), see `affine_warp`; angle, moves and zoom are drawn apart."""
        angle, x, y = torch.rand(3, num_images, generator=generator).mul(2).sub(1)
        magnification = 1 - self.zoom_out + (self.zoom_in + self.zoom_out) * torch.rand(num_images, generator=generator)
        angle = angle * math.radians(self.rotation)
        # Maps lead from output to input: what is magnified is read from a smaller part.
        cos, sin = angle.cos() / magnification, angle.sin() / magnification
        # Affine maps are in units of half of each side.
        aspect = width / height
        rows = [
            torch.stack([cos, -sin / aspect, 2 * self.translation * x], 1),
            torch.stack([sin * aspect, cos, 2 * self.translation * y], 1),
        ]
        return torch.stack(rows, 1)


def moved(images: Tensor, theta: Tensor) -> Tensor:
    """Copies of (N, C, H, W) uint8 images under maps of (N, 2, 3): bilinear, zero outside, rounded to 8 bits."""
    chunks = zip(torch.split(images, CHUNK), torch.split(theta, CHUNK), strict=True)
    return torch.cat([affine_warp(part.float(), maps).round().to(torch.uint8) for part, maps in chunks])


def shifted(images: Images, shift: Shift, generator: torch.Generator) -> Images:
    """Copies under a shift."""
    height, width = images.images.shape[-2:]
    theta = shift.draw(len(images), height, width, generator)
    return Images(moved(images.images, theta), images.labels)
