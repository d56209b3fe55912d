"""Augmentation networks: noise in, one image transformation per image out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from dabo_ray.augment.fixed import FixedAugmentation, Params


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

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """The weights for an optimiser, in groups that learn alike; `pooled` is for `ShrunkAdam`."""
        return [{"params": list(self.parameters()), "lr": lr, "pooled": True}]

    @abstractmethod
    def spread(self, noise: Tensor) -> dict[str, float]:
        """The learned distribution in the units of a person, estimated from (N, noise) noise."""


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
