"""Standardised inputs, as part of the network, so that augmentation works on plain pixel values."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """(images - mean) / std per channel.

    Args:
        mean: (C,) of images in [0, 1].
        std: (C,), over 0.

    >>> levels = torch.tensor([0, 255, 0, 255], dtype=torch.uint8).view(4, 1, 1, 1)
    >>> normalize = Normalize.of(levels)
    >>> normalize.mean.item(), round(normalize.std.item(), 3)
    (0.5, 0.577)
    >>> normalize(levels / 255).mean().item()
    0.0
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.reshape(-1, 1, 1).clone())
        self.register_buffer("std", std.reshape(-1, 1, 1).clone())

    @classmethod
    def of(cls, images: Tensor) -> Normalize:
        """Statistics of (N, C, H, W) uint8 images."""
        # From the counts of the 256 levels: the images as floating point would be eight times their size.
        counts = torch.stack([plane.flatten().bincount(minlength=256) for plane in images.unbind(1)]).double()
        levels = torch.arange(256, dtype=torch.float64, device=images.device) / 255
        total = counts.sum(1)
        mean = counts @ levels / total
        variance = (counts * (levels - mean[:, None]) ** 2).sum(1) / (total - 1)
        return cls(mean.float(), variance.sqrt().clamp(min=1e-3).float())

    def forward(self, images: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> the same."""
        return (images - self.mean) / self.std
