"""A learned augmenter as a transform of torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

import PIL.Image
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.description import describe, plot_distribution

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNMOVED = (tv_tensors.BoundingBoxes, tv_tensors.Mask, tv_tensors.Video, tv_tensors.KeyPoints)
"""What a transformation of the images alone would leave wrong."""

WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
"""Types of labels."""


class LearnedTransform(v2.Transform):  # type: ignore[misc]
    """Augments images as it was learned; used like any transform of `torchvision.transforms.v2`.

    Takes PIL images (modes L and RGB), tensors and `tv_tensors.Image` of uint8 or floating point in [0, 1], single
    images (C, H, W) or batches (..., C, H, W) with a draw for each image, alone or in any structure with labels and
    other things, which pass through. Gives back what it took: kind, type, shape and device. Random numbers come from
    torch's global generator, which a DataLoader seeds in each worker.

    If the augmenter depends on the class, the label must be in the call: `transform(image, label)`, a whole number, or
    a tensor of them with one for each image of a batch.

    Args:
        augmenter: what was learned.
        description: what is known about it.

    >>> from dabo_ray.augment.affine import AffineAugmenter
    >>> transform = v2.Compose([LearnedTransform(AffineAugmenter()), v2.ToDtype(torch.float32, scale=True)])
    >>> image, label = transform(PIL.Image.new("RGB", (32, 32)), 3)
    >>> image.size, label
    ((32, 32), 3)
    >>> transform(torch.zeros(8, 3, 32, 32, dtype=torch.uint8)).dtype
    torch.float32
    """

    def __init__(self, augmenter: Augmenter, description: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.augmenter = augmenter.requires_grad_(False)
        self.description = dict(description or {})

    def forward(self, *inputs: Any) -> Any:
        """See the class.

        Raises:
            ValueError: an image is of a kind that is not taken, or a label that is needed is missing.
            TypeError: there are boxes, masks, key points or videos, which would not be moved with the images.
        """
        flat, structure = tree_flatten(inputs if len(inputs) > 1 else inputs[0])
        if any(isinstance(part, UNMOVED) for part in flat):
            raise TypeError("boxes, masks, key points and videos would not move with the images; give images alone")
        is_image = self._needs_transform_list(flat)
        images = [part for part, taken in zip(flat, is_image, strict=True) if taken]
        if images:
            params = self.make_params(images) | {"labels": self._labels(flat, is_image)}
            flat = [self.transform(part, params) if taken else part for part, taken in zip(flat, is_image, strict=True)]
        return tree_unflatten(flat, structure)

    def _labels(self, flat: list[Any], is_image: list[bool]) -> Tensor | None:
        """The first whole number, or tensor of whole numbers, that is not an image; None if none is needed."""
        if self.augmenter.conditioning != "class":
            return None
        for part, taken in zip(flat, is_image, strict=True):
            whole = part.dtype in WHOLE if isinstance(part, Tensor) else type(part) is int
            if whole and not taken:
                return torch.as_tensor(part).reshape(-1)
        raise ValueError("this augmentation depends on the class of the image; call it as transform(image, label)")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draws, one row for each image of the first input; further images of a sample are changed alike."""
        first = flat_inputs[0]
        count = 1 if isinstance(first, PIL.Image.Image) else first.shape[:-3].numel()
        (draws,) = self.augmenter.draw(count, torch.default_generator)
        return {"draws": draws}

    @torch.no_grad()
    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Augments one input."""
        if isinstance(inpt, PIL.Image.Image):
            if inpt.mode not in ("L", "RGB"):
                raise ValueError(f"the image has mode {inpt.mode}; convert it to L or RGB first")
            levels = tv.pil_to_tensor(inpt)
            return tv.to_pil_image(self._augmented(levels, params), mode=inpt.mode)
        augmented = self._augmented(inpt.as_subclass(Tensor), params)
        return tv_tensors.wrap(augmented, like=inpt) if isinstance(inpt, tv_tensors.Image) else augmented

    def _augmented(self, images: Tensor, params: dict[str, Any]) -> Tensor:
        if images.ndim < 3 or images.shape[-3] not in (1, 3):
            raise ValueError(f"got a tensor of shape {tuple(images.shape)}; give images (..., C, H, W) with C = 1 or 3")
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise ValueError(f"got images of type {images.dtype}; give uint8, or floating point in [0, 1]")
        batch = images.reshape(-1, *images.shape[-3:])
        draws, labels = params["draws"], params["labels"]
        if len(batch) != len(draws):
            raise ValueError(f"got {len(draws)} and {len(batch)} images in one sample; give equally many of each")
        if labels is not None and len(labels) != len(batch):
            raise ValueError(f"got {len(labels)} labels for {len(batch)} images; give one for each")
        if labels is not None and not 0 <= int(labels.min()) <= int(labels.max()) < self.augmenter.num_classes:
            raise ValueError(
                f"labels are {labels.tolist()}; this augmenter knows 0 to {self.augmenter.num_classes - 1}"
            )
        self.augmenter.to(images.device)
        unit = batch if batch.is_floating_point() else batch.float() / 255
        context = self.augmenter.context(unit, None if labels is None else labels.to(images.device))
        augmented: Tensor = self.augmenter(unit, draws.to(images.device), *context)
        if images.dtype == torch.uint8:
            augmented = augmented.mul(255).round().clamp(0, 255).to(torch.uint8)
        return augmented.reshape(images.shape)

    def describe(self, label: int | None = None) -> str:
        """The learned distribution, or that for one class, in words and numbers; see `description.describe`."""
        return describe(self.augmenter, label)

    def plot(self, target: str | PathLike[str] | Axes | None = None, label: int | None = None) -> Axes:
        """Draws the learned distribution, or that for one class, with matplotlib.

        Args:
            target: a file to write, axes to draw on, or None for a new figure.
            label: the class that is meant, if the distribution depends on it; None for all alike.

        Returns:
            The axes that were drawn on.
        """
        return plot_distribution(self.augmenter, target, label)

    def extra_repr(self) -> str:
        """What `print` shows in brackets: the operations."""
        return ", ".join(self.augmenter.operations)
