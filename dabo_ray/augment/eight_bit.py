"""Operations on 8-bit levels that cut wherever torchvision does on uint8 images, so that they equal it exactly.

Levels are (B, C, H, W), C = 1 or 3, whole numbers in 0..255 as float32; so is what comes out. Each operation may write
into the levels it is given. `strengths`, (B,), is the blending factor less one: 0 is no change. These have no useful
gradients; `functional` has the smooth definitions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dabo_ray.augment.functional import Terms, grayscale, per_image, sample, smooth_inner


def nearest_warp(levels: Tensor, terms: Terms) -> Tensor:
    """The nearest pixel under a map of pixels, see `functional.pixel_terms`; zero outside the image."""
    return sample(levels, terms, "nearest")


def bilinear_warp(levels: Tensor, terms: Terms) -> Tensor:
    """Blend of the four nearest pixels under a map of pixels; zero outside the image."""
    return sample(levels, terms, "bilinear").round_()


def brightness(levels: Tensor, strengths: Tensor) -> Tensor:
    """Multiply by 1 + `strengths`."""
    return _cut(levels.mul_(per_image(1 + strengths)))


def saturation(levels: Tensor, strengths: Tensor) -> Tensor:
    """Move away from the grey image by `strengths`; images of one channel stay as they are."""
    if levels.shape[1] == 1:
        return levels
    return _blend(levels, grayscale(levels).floor_(), strengths)


def contrast(levels: Tensor, strengths: Tensor) -> Tensor:
    """Move away from the mean grey of the image by `strengths`."""
    gray = grayscale(levels).floor()
    # A whole image of it: a CPU broadcasts two numbers per image several times more slowly.
    return _blend(levels, gray.mean(dim=(1, 2, 3), keepdim=True).expand_as(gray).contiguous(), strengths)


def sharpness(levels: Tensor, strengths: Tensor) -> Tensor:
    """Move away from the smoothed image by `strengths`; the border stays as it is."""
    if min(levels.shape[-2:]) <= 2:
        return levels
    inner = levels[..., 1:-1, 1:-1]
    inner.addcmul_(smooth_inner(levels).round_().sub_(inner), per_image(-strengths))
    return _cut(levels)


def posterize(levels: Tensor, bits: Tensor) -> Tensor:
    """Keep the `bits` highest of the 8 bits, 0 to 8 whole numbers."""
    step = per_image(torch.exp2(8 - bits))
    return levels.div_(step).floor_().mul_(step)


def solarize(levels: Tensor, thresholds: Tensor) -> Tensor:
    """Invert the levels at or above 255 `thresholds`."""
    # 255 less a level is |level - 255|; a mask of 0 and 1 is several times faster than torch.where on the CPU.
    inverted = levels.clone().ge_(per_image(thresholds * 255))
    return levels.sub_(inverted, alpha=255).abs_()


def autocontrast(levels: Tensor) -> Tensor:
    """Stretch each channel to the full range; a channel of one value stays as it is."""
    low, high = levels.amin(dim=(2, 3), keepdim=True), levels.amax(dim=(2, 3), keepdim=True)
    flat = high == low
    unit = ((high - low) * (1 / 255)).masked_fill_(flat, 1)
    return _cut(levels.sub_(low.masked_fill_(flat, 0)).div_(unit))


def invert(levels: Tensor) -> Tensor:
    """255 less each level."""
    return levels.neg_().add_(255)


def _blend(levels: Tensor, others: Tensor, strengths: Tensor) -> Tensor:
    # addcmul rounds once, as torchvision's add with a scalar alpha does.
    return _cut(levels.mul_(per_image(1 + strengths)).addcmul_(others, per_image(-strengths)))


def _cut(levels: Tensor) -> Tensor:
    return levels.clamp_(0, 255).floor_()
