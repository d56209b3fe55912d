"""Augmentation made by hand as a transform of torchvision, for what torchvision has none for."""

from __future__ import annotations

from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from dabo_ray.augment.fixed import FixedAugmentation
from dabo_ray.augment.functional import to_levels


class FixedTransform(v2.Transform):  # type: ignore[misc]
    """Augments tensors of images as the baselines of studies do; used like any of `torchvision.transforms.v2`.

    Takes tensors and `tv_tensors.Image` of uint8 or floating point in [0, 1], (C, H, W) or (..., C, H, W), each image
    by its own draw, and gives back their type; put `v2.ToImage()` before it for pictures of PIL. Random numbers come
    from torch's global generator.

    Args:
        augmentation: of single images: not mixup or CutMix, which work on batches.

    >>> from dabo_ray.augment.erasing import Cutout
    >>> FixedTransform(Cutout(size=4))(torch.ones(3, 8, 8, dtype=torch.uint8)).dtype
    torch.uint8
    """

    def __init__(self, augmentation: FixedAugmentation) -> None:
        super().__init__()
        self.augmentation = augmentation

    @torch.no_grad()
    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Augments one input.

        Raises:
            TypeError: it is a picture of PIL, or a mask, boxes, key points or a video, which would not be moved.
            ValueError: it is not of a kind that is taken.
        """
        if not isinstance(inpt, torch.Tensor):
            raise TypeError(f"got {type(inpt).__name__}; put v2.ToImage() before this transform")
        if isinstance(inpt, tv_tensors.TVTensor) and not isinstance(inpt, tv_tensors.Image):
            raise TypeError(f"{type(inpt).__name__} would not be moved with the image; give images alone")
        images = inpt.as_subclass(torch.Tensor)
        if images.ndim < 3:
            raise ValueError(f"got a tensor of shape {tuple(images.shape)}; give images (..., C, H, W)")
        batch = images.reshape(-1, *images.shape[-3:])
        drawn = self.augmentation.draw(len(batch), torch.default_generator)
        if batch.dtype == torch.uint8:
            changed = to_levels(self.augmentation.apply_uint8(batch, drawn)).to(torch.uint8)
        else:
            changed = self.augmentation.apply(batch, drawn)
        changed = changed.reshape(images.shape)
        return tv_tensors.wrap(changed, like=inpt) if isinstance(inpt, tv_tensors.Image) else changed
