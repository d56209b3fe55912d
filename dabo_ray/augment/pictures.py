"""Images of PIL and torchvision as batches of numbers to work on, and back; what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torchvision import tv_tensors

from dabo_ray.augment.functional import to_levels, to_unit
from dabo_ray.augment.moving import BLENDED_MODES, NEAREST_MODES

_WIDE = (torch.float64, torch.int32, torch.int64, torch.uint32, torch.uint64)
"""Types whose values float32 cannot hold."""

_POINTS = (tv_tensors.BoundingBoxes, tv_tensors.KeyPoints)

GiveBack = Callable[[Tensor], Any]
"""Makes a changed batch what the images were: their kind, type and shape."""


def images_of(parts: Sequence[Any]) -> list[Any]:
    """The images among the parts of a sample that are moved; the others go along with them."""
    return [part for part in parts if not isinstance(part, (tv_tensors.Mask, *_POINTS))]


def number_of(image: Any) -> int:
    """How many images are changed each by its own draw: those of a batch; a video counts as one."""
    return 1 if isinstance(image, (PIL.Image.Image, tv_tensors.Video)) else image.shape[:-3].numel()


def check_sample(parts: Sequence[Any], others: Sequence[Any], *, is_geometric: bool) -> None:
    """Refuses a sample of which something would stay as it is, or be blended, though it should not.

    Args:
        parts: what is to be changed.
        others: the rest of the sample.
        is_geometric: whether the augmenter moves pixels and no more.

    Raises:
        TypeError: there are images of numpy, or tensors that look like masks.
        ValueError: the mode of a picture is not taken.
    """
    pictures = [part for part in parts if isinstance(part, PIL.Image.Image)]
    images = images_of(parts)
    for picture in pictures:
        _check_mode(picture, is_geometric=is_geometric, is_alone=len(images) == 1)
    modes = {picture.mode for picture in pictures} - set(NEAREST_MODES)
    if len(modes) > 1:
        raise ValueError(
            f"got pictures of the modes {', '.join(sorted(modes))} in one sample; if one is a mask, give it as "
            "tv_tensors.Mask, so that its values are not blended, else convert all to one mode"
        )
    for other in others:
        if isinstance(other, np.ndarray) and other.ndim > 1 and not parts:
            raise TypeError(
                f"got an array of numpy of shape {other.shape}; put v2.ToImage() before this transform if it is an "
                "image, or wrap it in tv_tensors.Mask, BoundingBoxes or KeyPoints"
            )
        if isinstance(other, (np.ndarray, Tensor)) and images and _is_like_a_mask(tuple(other.shape), images[0]):
            raise TypeError(
                f"got {type(other).__name__} of shape {tuple(other.shape)} beside an image of that height and width; "
                "wrap it in tv_tensors.Mask or tv_tensors.Image, so that it moves with the image"
            )


def _check_mode(picture: PIL.Image.Image, *, is_geometric: bool, is_alone: bool) -> None:
    """See `check_sample`. A palette beside a picture is a mask, as in Pascal VOC."""
    mode = picture.mode
    taken = (*NEAREST_MODES, *BLENDED_MODES) if is_geometric else ("L", "RGB")
    if mode not in taken and (mode not in NEAREST_MODES or is_alone):
        raise ValueError(f"the image has mode {mode}, this augmentation takes {', '.join(taken)}; convert it first")


def _is_like_a_mask(shape: tuple[int, ...], image: Any) -> bool:
    if isinstance(image, PIL.Image.Image):
        size, is_batch = (image.height, image.width), False
    else:
        size, is_batch = tuple(image.shape[-2:]), number_of(image) > 1
    return len(shape) >= (3 if is_batch else 2) and size in (shape[-2:], shape[:2])


def as_batch(image: Any, *, is_geometric: bool) -> tuple[Tensor, GiveBack]:
    """The numbers of an image, of a batch or of a video, and what makes them images again.

    Args:
        image: PIL of the modes L and RGB, whose numbers come out in [0, 1]; or a tensor (..., C, H, W).
        is_geometric: whether pixels are only moved: any numbers of tensors will do then, otherwise those in [0, 1].

    Returns:
        (B, C, H, W), float32 or float64.

    Raises:
        ValueError: the image is not of a kind that is taken.
    """
    if isinstance(image, PIL.Image.Image):
        levels = torch.from_numpy(np.array(image)).view(1, image.height, image.width, -1).permute(0, 3, 1, 2)
        return to_unit(levels), lambda batch: _picture(_like(batch, levels, is_geometric=False))
    plain = image.as_subclass(Tensor)
    _check_tensor(plain, is_geometric=is_geometric)
    numbers = _numbers(plain.reshape(-1, *plain.shape[-3:]), is_geometric=is_geometric)

    def give_back(batch: Tensor) -> Any:
        values = _like(batch, plain, is_geometric=is_geometric).reshape(plain.shape)
        return tv_tensors.wrap(values, like=image) if isinstance(image, tv_tensors.TVTensor) else values

    return numbers, give_back


def _check_tensor(image: Tensor, *, is_geometric: bool) -> None:
    if image.ndim < 3:
        raise ValueError(f"got a tensor of shape {tuple(image.shape)}; give images (..., C, H, W)")
    if image.dtype == torch.bool or image.is_complex():
        raise ValueError(f"got images of type {image.dtype}; give numbers, and wrap masks in tv_tensors.Mask")
    if is_geometric:
        return
    if image.shape[-3] not in (1, 3):
        raise ValueError(f"got a tensor of shape {tuple(image.shape)}; give images (..., C, H, W) with C = 1 or 3")
    if image.dtype == torch.uint8:
        return
    if not image.is_floating_point():
        raise ValueError(
            f"got images of type {image.dtype}; give uint8, or floating point in [0, 1]: v2.ToDtype(torch.float32, "
            "scale=True) before this transform"
        )
    low, high = image.aminmax() if image.numel() else (image.new_zeros(()),) * 2
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"got images with values from {float(low):.4g} to {float(high):.4g}; this augmentation changes tones, or "
            "looks at the image, which must be in [0, 1]: scale it, and put v2.Normalize after this transform"
        )


def _numbers(batch: Tensor, *, is_geometric: bool) -> Tensor:
    numbers = batch.to(torch.float64 if batch.dtype in _WIDE else torch.float32)
    return numbers if is_geometric or batch.is_floating_point() else to_unit(batch)


def _like(batch: Tensor, image: Tensor, *, is_geometric: bool) -> Tensor:
    if image.is_floating_point():
        return batch.to(image.dtype)
    whole = batch.round_() if is_geometric else to_levels(batch)
    # By way of int16 a CPU is twice as fast.
    return whole.short().byte() if image.dtype == torch.uint8 else whole.to(image.dtype)


def _picture(levels: Tensor) -> PIL.Image.Image:
    channels, height, width = levels.shape[1:]
    pixels = levels.permute(0, 2, 3, 1).contiguous().numpy()
    return PIL.Image.frombytes("L" if channels == 1 else "RGB", (width, height), pixels.tobytes())
