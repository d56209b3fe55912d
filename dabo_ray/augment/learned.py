"""Augmentation networks: noise in, one image transformation per image out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from dabo_ray.augment.fixed import FixedAugmentation, Params
from dabo_ray.augment.ops import affine_warp


class Augmenter(nn.Module, ABC):
    """A distribution of image transformations with weights that can be learned.

    Args:
        noise: dimension of the noise, uniform in (-1, 1).
        hidden: units of each hidden layer.
        depth: hidden layers.
        outputs: numbers per image that the transformation takes.
        centred: take the odd part of the network, (f(z) - f(-z)) / 2. The noise is symmetric, so the mean of the
            numbers is zero whatever the weights: only the spread is learned.
    """

    def __init__(self, noise: int, hidden: int, depth: int, outputs: int, centred: bool) -> None:
        super().__init__()
        self.noise = noise
        self.centred = centred
        layers: list[nn.Module] = []
        inputs = noise
        for _ in range(depth):
            layers += [nn.Linear(inputs, hidden), nn.ReLU()]
            inputs = hidden
        self.network = nn.Sequential(*layers, nn.Linear(inputs, outputs))

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Noise for a batch, on the CPU: one tensor, (num_images, noise)."""
        return (torch.rand(num_images, self.noise, generator=generator).mul_(2).sub_(1),)

    def raw(self, noise: Tensor) -> Tensor:
        """The network's numbers for each row of noise, (B, outputs), before they become a transformation."""
        if self.centred:
            numbers: Tensor = self.network(torch.cat((noise, -noise)))
            positive, negative = numbers.chunk(2)
            return (positive - negative) / 2
        free: Tensor = self.network(noise)
        return free

    @abstractmethod
    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """Transform (B, C, H, W) images by (B, noise) noise; differentiable in images and weights."""

    @abstractmethod
    def spread(self, noise: Tensor) -> dict[str, float]:
        """The learned distribution in the units of a person, estimated from (N, noise) noise."""


class AffineAugmenter(Augmenter):
    """Affine maps, identity + tanh(network), that tell where each output pixel is read (DABO, section 3)."""

    def __init__(self, noise: int, hidden: int, depth: int = 1, centred: bool = True) -> None:
        super().__init__(noise, hidden, depth, 6, centred)

    def theta(self, noise: Tensor) -> Tensor:
        """(B, 2, 3) maps of output to input coordinates, see `affine_warp`."""
        identity = torch.eye(2, 3, dtype=noise.dtype, device=noise.device)
        return identity + torch.tanh(self.raw(noise)).view(-1, 2, 3)

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """Warped images."""
        return affine_warp(images, self.theta(noise))

    @torch.no_grad()
    def spread(self, noise: Tensor) -> dict[str, float]:
        """Standard deviations of rotation and shear (degrees), scale and translation (percent of the side)."""
        theta = self.theta(noise).cpu().double()
        a, b, c, d = theta[:, :, :2].flatten(1).unbind(1)
        # The rotation of the polar decomposition; its mean is over directions, so that +180 and -180 are neighbours.
        angle = torch.atan2(c - b, a + d)
        centre = torch.atan2(angle.sin().mean(), angle.cos().mean())
        angle = torch.remainder(angle - centre + math.pi, 2 * math.pi) - math.pi
        scale = (a * d - b * c).abs().sqrt()
        cosine = (a * b + c * d) / ((a * a + c * c) * (b * b + d * d)).sqrt().clamp(min=1e-12)
        shear = cosine.clamp(-1, 1).asin()
        return {
            "rotation_spread_deg": math.degrees(angle.square().mean().sqrt()),
            "scale_spread_percent": 100 * float(scale.std(correction=0)),
            "shear_spread_deg": math.degrees(shear.std(correction=0)),
            # Coordinates run over 2 units, the side.
            "translation_spread_percent": 50 * float(theta[:, :, 2].var(0, correction=0).mean().sqrt()),
        }


class Frozen(FixedAugmentation):
    """An augmenter whose weights do not change, used like a hand-made augmentation."""

    def __init__(self, augmenter: Augmenter) -> None:
        self.augmenter = augmenter.requires_grad_(False)

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Noise for the augmenter."""
        return self.augmenter.draw(num_images, generator)

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """The augmenter's transformations."""
        return self.augmenter(images, *(part.to(images.device) for part in params))  # type: ignore[no-any-return]
