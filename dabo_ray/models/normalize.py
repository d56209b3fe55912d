"""Standardised inputs, as part of the network, so that augmentation works on plain pixel values."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """(images - mean) / std per channel.

    Args:
        mean: (C,) of images in [0, 1].
        std: (C,), over 0.
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
        flat = images.transpose(0, 1).flatten(1).to(torch.float64).div(255)
        return cls(flat.mean(1).float(), flat.std(1).clamp(min=1e-3).float())

    def forward(self, images: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> the same."""
        return (images - self.mean) / self.std
