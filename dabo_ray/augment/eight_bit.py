"""Tone operations that cut to 8-bit levels wherever torchvision does on uint8 images, so that they equal it exactly.

Images are float32, (B, C, H, W), multiples of 1/255 in [0, 1]; so is what comes out. `strengths`, (B,), is the
blending factor less one: 0 is no change. These have no useful gradients; `ops` has the smooth definitions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dabo_ray.augment.ops import grayscale, per_image, smooth_inner, to_levels


def brightness(images: Tensor, strengths: Tensor) -> Tensor:
    """Multiply by 1 + `strengths`."""
    return _to_images(to_levels(images).mul_(per_image(1 + strengths)))


def saturation(images: Tensor, strengths: Tensor) -> Tensor:
    """Move away from the grey image by `strengths`; images of one channel stay as they are."""
    if images.shape[1] == 1:
        return images
    levels = to_levels(images)
    return _blend(levels, grayscale(levels).floor_(), strengths)


def contrast(images: Tensor, strengths: Tensor) -> Tensor:
    """Move away from the mean grey of the image by `strengths`."""
    levels = to_levels(images)
    return _blend(levels, grayscale(levels).floor().mean(dim=(1, 2, 3), keepdim=True), strengths)


def sharpness(images: Tensor, strengths: Tensor) -> Tensor:
    """Move away from the smoothed image by `strengths`; the border stays as it is."""
    if min(images.shape[-2:]) <= 2:
        return images
    levels = to_levels(images)
    inner = levels[..., 1:-1, 1:-1]
    inner.addcmul_(smooth_inner(levels).round_().sub_(inner), per_image(-strengths))
    return _to_images(levels)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel to the full range; a channel of one value stays as it is."""
    levels = to_levels(images)
    low, high = levels.amin(dim=(2, 3), keepdim=True), levels.amax(dim=(2, 3), keepdim=True)
    flat = high == low
    unit = ((high - low) * (1 / 255)).masked_fill_(flat, 1)
    return _to_images(levels.sub_(low.masked_fill_(flat, 0)).div_(unit))


def _blend(levels: Tensor, others: Tensor, strengths: Tensor) -> Tensor:
    # addcmul rounds once, as torchvision's add with a scalar alpha does.
    return _to_images(torch.addcmul(levels * per_image(1 + strengths), others, per_image(-strengths)))


def _to_images(levels: Tensor) -> Tensor:
    """Cut levels of this module's own making to 8 bits, in place, and scale them to [0, 1]."""
    return levels.clamp_(0, 255).floor_().div_(255)
