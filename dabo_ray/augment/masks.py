"""Masks: the classes of pixels, which are moved with their images."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

IGNORED = 255
"""In a mask, a pixel whose class is not known or does not count; what comes from outside the image is such a pixel."""


def are_masks(labels: Tensor) -> bool:
    """Whether labels are masks, (B, H, W) uint8, and not one class, or shares of classes, for each image."""
    return labels.ndim == 3


def moved_masks(masks: Tensor, move: Callable[[Tensor], Tensor]) -> Tensor:
    """Masks that are moved as images are, by the nearest pixel.

    Args:
        masks: (B, H, W) uint8, classes from 0 to 254 or `IGNORED`.
        move: of (B, 1, H, W) uint8 images; leaves zero where nothing is.
    """
    # In 8 bits IGNORED + 1 is zero, and zero - 1 is IGNORED.
    return move((masks + 1).unsqueeze(1)).squeeze(1) - 1
