"""Arguments of a bilevel step in a loop of one's own, checked."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dabo_ray.augment.functional import to_unit
from dabo_ray.augment.masks import IGNORED


def check_options(
    inner_steps: int,
    truncation: int,
    total_steps: int | None,
    warmup_steps: int | None,
    warmup_loss: float | None,
    differentiate: str,
    mixed_batch_fraction: float,
    clip_norm: float | None,
    mask_classes: int | None,
) -> None:
    """Options of a `BilevelStep`, which has what each means.

    Raises:
        ValueError: one is out of its range.
    """
    for name, count in (("inner_steps", inner_steps), ("truncation", truncation), ("total_steps", total_steps)):
        if count is not None and count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    if warmup_steps is not None and not 0 <= warmup_steps < (total_steps or math.inf):
        raise ValueError(f"warmup_steps must be at least 0 and under total_steps, got {warmup_steps}")
    if warmup_loss is not None and not 0 < warmup_loss <= 1:
        raise ValueError(f"warmup_loss must be in (0, 1], got {warmup_loss}; None: learn whatever the training loss is")
    if differentiate not in ("direction", "update"):
        raise ValueError(f"differentiate must be 'direction' or 'update', got {differentiate!r}")
    if not 0 < mixed_batch_fraction <= 1:
        raise ValueError(f"mixed_batch_fraction must be in (0, 1], got {mixed_batch_fraction}")
    if clip_norm is not None and clip_norm <= 0:
        raise ValueError(f"clip_norm must be over 0, got {clip_norm}; None: no limit")
    if mask_classes is not None and not 2 <= mask_classes < IGNORED:
        raise ValueError(f"mask_classes must be at least 2 and under {IGNORED}, got {mask_classes}; None: no masks")


def check_masks(images: Tensor, labels: Tensor, mask_classes: int | None) -> None:
    """Whether labels fit to what the loss is told of them.

    Args:
        images: (B, C, H, W).
        labels: of the images, or of their pixels.
        mask_classes: classes of the pixels; None: labels are of whole images.

    Raises:
        ValueError: labels are masks and there should be none, or the other way round, or masks of another size.
    """
    if mask_classes is None:
        if labels.ndim == 3 and labels.shape[1:] == images.shape[2:]:
            raise ValueError(
                f"got labels of shape {tuple(labels.shape)}, a class for each pixel; give mask_classes, so that they "
                "are moved with the images"
            )
        return
    if labels.shape != (len(images), *images.shape[2:]) or labels.is_floating_point():
        raise ValueError(
            f"got labels of shape {tuple(labels.shape)} and {labels.dtype} for images of shape {tuple(images.shape)}; "
            f"with mask_classes give a whole number under {mask_classes}, or 255, for each pixel"
        )


def checked_images(images: Tensor, labels: Tensor, *, look: bool) -> Tensor:
    """Images as an augmenter takes them, floating point in [0, 1].

    Args:
        images: (B, C, H, W), uint8 or floating point.
        labels: one for each image.
        look: whether to look at the values of floating point too, which waits for the device.

    Raises:
        ValueError: they are not such images.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"got images of shape {tuple(images.shape)}; give (B, C, H, W) with 1 or 3 channels")
    if len(images) != len(labels):
        raise ValueError(f"got {len(images)} images and {len(labels)} labels; give a label for each image")
    if images.dtype == torch.uint8:
        images = to_unit(images)
    elif not images.is_floating_point():
        raise ValueError(f"got images of {images.dtype}; give uint8, or floating point in [0, 1]")
    elif look and not (images.min() >= 0 and images.max() <= 1):
        low, high = images.min().item(), images.max().item()
        raise ValueError(
            f"got images from {low:.3g} to {high:.3g}; give values in [0, 1] and normalise them in the model"
        )
    return images
