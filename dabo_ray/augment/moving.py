"""What goes along with an image under its map: masks, bounding boxes, key points, pictures of PIL."""

from __future__ import annotations

from typing import TypeVar

import PIL.Image
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as tv

from dabo_ray.augment.functional import nearest

_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64, torch.bool: torch.uint8}
"""Types that torch cannot gather -> types of the same size that it can."""

Points = TypeVar("Points", tv_tensors.BoundingBoxes, tv_tensors.KeyPoints)

NEAREST_MODES = ("1", "P")
"""Of PIL, whose values must not be blended."""

BLENDED_MODES = ("L", "LA", "I", "I;16", "F", "RGB", "RGBA")
"""Of PIL; zero is black or transparent in all of them."""


def move_mask(mask: tv_tensors.Mask, maps: Tensor) -> tv_tensors.Mask:
    """The nearest pixel of a mask (..., H, W), of any type; zero outside.

    Args:
        mask: of one image, or one for each of B images, (B, ..., H, W).
        maps: (1, 2, 3) or (B, 2, 3), see `functional.warp`.

    Raises:
        ValueError: there are several images and not as many masks.
    """
    values = mask.as_subclass(Tensor)
    if len(maps) > 1 and (values.ndim < 3 or len(values) != len(maps)):
        raise ValueError(f"got {len(maps)} images and masks of shape {tuple(values.shape)}; give masks for each image")
    if not values.numel():
        return mask
    words = values.view(_SIGNED.get(values.dtype, values.dtype))
    moved = nearest(words.reshape(len(maps), -1, *values.shape[-2:]), maps.to(values.device))
    return tv_tensors.wrap(moved.view(values.dtype).reshape(values.shape), like=mask)


def move_points(points: Points, maps: Tensor) -> Points:
    """Bounding boxes of any format, or key points, of one image, as torchvision's `affine` moves and clamps them.

    A box becomes the box around its moved corners; one that is turned already stays a rectangle.

    Args:
        points: `tv_tensors.BoundingBoxes` or `tv_tensors.KeyPoints`.
        maps: (1, 2, 3), see `functional.warp`.

    Raises:
        ValueError: there are several images, so that it is not known whose they are.
    """
    if len(maps) != 1:
        raise ValueError(f"got {len(maps)} images with boxes or key points; give them image by image")
    if not points.numel():
        return points
    exact = tv_tensors.wrap(points.as_subclass(Tensor).double(), like=points)
    moved = tv.perspective(exact, None, None, coefficients=[*pixel_coefficients(maps, *points.canvas_size), 0.0, 0.0])
    values = moved.as_subclass(Tensor)
    whole = values if points.dtype.is_floating_point else values.round()
    return tv_tensors.wrap(whole.to(points.dtype), like=points)


def move_picture(image: PIL.Image.Image, maps: Tensor) -> PIL.Image.Image:
    """A picture of PIL of one of the modes above, by the nearest pixel or blended."""
    resample = PIL.Image.Resampling.NEAREST if image.mode in NEAREST_MODES else PIL.Image.Resampling.BILINEAR
    coefficients = tuple(pixel_coefficients(maps, image.height, image.width))
    return image.transform(image.size, PIL.Image.Transform.AFFINE, coefficients, resample)


def pixel_coefficients(maps: Tensor, height: int, width: int) -> list[float]:
    """A map as (a, b, c, d, e, f): pixel (x, y) is read at (a x + b y + c, d x + e y + f), corners at whole numbers."""
    ((a, b, x), (d, e, y)) = maps[0].tolist()
    middle_x, middle_y = width / 2, height / 2
    return [
        *(a, b, middle_x * (1 + x) - a * middle_x - b * middle_y),
        *(d, e, middle_y * (1 + y) - d * middle_x - e * middle_y),
    ]
