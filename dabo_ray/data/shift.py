"""A known change of the images, to see whether an augmenter finds it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dabo_ray.data.images import Images


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


def shifted(images: Images, shift: Shift, generator: torch.Generator) -> Images:
    """The images as they are seen under a shift; they are moved when they are read."""
    _, height, width = images.shape
    return images.under(shift.draw(len(images), height, width, generator))
