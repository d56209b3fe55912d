"""A learned augmenter as a transform of torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms import v2

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.description import describe, plot_distribution
from dabo_ray.augment.drawn_ahead import DrawnAhead
from dabo_ray.augment.fixed import Params
from dabo_ray.augment.moving import NEAREST_MODES, move_mask, move_picture, move_points
from dabo_ray.augment.pictures import as_batch, check_sample, images_of, number_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
"""Types of labels."""


class LearnedTransform(v2.Transform):  # type: ignore[misc]
    """Augments images as it was learned; used like any transform of `torchvision.transforms.v2`.

    Takes single images, PIL or (C, H, W), or batches (..., C, H, W) with a draw for each image, alone or in any
    structure with labels and other things, which pass through. Masks (by the nearest pixel), bounding boxes of every
    format and key points of `tv_tensors` move with their image; a video moves as a whole. Gives back what it took:
    kind, type, shape and device. What comes into view from outside an image is zero.

    An augmenter that moves pixels and no more takes numbers of any type and range, any channels, and PIL's modes 1, P
    (by the nearest pixel), L, LA, I;16, I, F, RGB, RGBA. One that changes tones, or looks at the image, takes 1 or 3
    channels, uint8 or floating point in [0, 1], and PIL's L and RGB: augment before `v2.Normalize`, not after.

    Pictures of PIL that are only moved are resampled by PIL, as torchvision does: in the outermost half pixel, which
    tensors blend with zero, they differ. Random numbers come from torch's global generator, which a DataLoader seeds in
    each worker. What single images get is drawn ahead, see `DrawnAhead`.

    If the augmenter depends on the class, the label must be in the call: `transform(image, label)`, a whole number, or
    a tensor of them with one for each image of a batch.

    Args:
        augmenter: what was learned. Its weights keep their type and device, whatever this module is moved to.
        description: what is known about it.

    >>> from dabo_ray.augment.affine import AffineAugmenter
    >>> transform = v2.Compose([LearnedTransform(AffineAugmenter()), v2.ToDtype(torch.float32, scale=True)])
    >>> image, label = transform(PIL.Image.new("RGB", (32, 32)), 3)
    >>> image.size, label
    ((32, 32), 3)
    >>> transform(torch.zeros(8, 3, 32, 32, dtype=torch.uint8)).dtype
    torch.float32
    """

    augmenter: Augmenter

    def __init__(self, augmenter: Augmenter, description: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        # Not as a part of the module: `model.to(torch.bfloat16)` would leave its maps 8 bits.
        self.__dict__["augmenter"] = augmenter.requires_grad_(False)
        self.description = dict(description or {})
        self._ahead = DrawnAhead(augmenter)

    def forward(self, *inputs: Any) -> Any:
        """See the class.

        Raises:
            ValueError: an image is of a kind that is not taken, or a label that is needed is missing.
            TypeError: there are images of numpy, or what looks like a mask and would not be moved.
        """
        flat, structure = tree_flatten(inputs if len(inputs) > 1 else inputs[0])
        is_moved = self._needs_transform_list(flat)
        parts = [part for part, moved in zip(flat, is_moved, strict=True) if moved]
        others = [part for part, moved in zip(flat, is_moved, strict=True) if not moved]
        check_sample(parts, others, is_geometric=self.augmenter.is_geometric)
        if not parts:
            return tree_unflatten(flat, structure)
        params = self.make_params(parts, self._labels(others))
        flat = [self.transform(part, params) if moved else part for part, moved in zip(flat, is_moved, strict=True)]
        return tree_unflatten(flat, structure)

    def _labels(self, others: list[Any]) -> Tensor | None:
        """The first whole number, or tensor of whole numbers, that is not an image; None if none is needed."""
        if self.augmenter.conditioning != "class":
            return None
        for part in others:
            if part.dtype in WHOLE if isinstance(part, Tensor) else type(part) is int or isinstance(part, np.integer):
                return torch.as_tensor(part).reshape(-1)
        raise ValueError("this augmentation depends on the class of the image; call it as transform(image, label)")

    @torch.no_grad()
    def make_params(self, flat_inputs: list[Any], labels: Tensor | None = None) -> dict[str, Any]:
        """What is decided, a row for each image of the first input; further images of a sample are changed alike."""
        images = images_of(flat_inputs)
        count = number_of(images[0]) if images else 1
        self._check_labels(labels, count)
        if count == 1 and self.augmenter.conditioning != "image":
            return {"decided": self._ahead.row(None if labels is None else int(labels))}
        weight = next(self.augmenter.parameters())
        (draws,) = self.augmenter.draw(count, torch.default_generator)
        context: Params = ()
        if self.augmenter.conditioning == "class" and labels is not None:
            context = self.augmenter.context(draws, labels.to(weight.device))
        elif self.augmenter.conditioning == "image":
            if not images:
                raise ValueError("this augmentation depends on the image; give the image too")
            batch, _ = as_batch(images[0], is_geometric=False)
            context = self.augmenter.context(batch.to(weight.device), None)
        return {"decided": self.augmenter.decide(draws.to(weight), *context)}

    def _check_labels(self, labels: Tensor | None, count: int) -> None:
        if labels is None:
            return
        if len(labels) != count:
            raise ValueError(f"got {len(labels)} labels for {count} images; give one for each")
        if count and not 0 <= int(labels.min()) <= int(labels.max()) < self.augmenter.num_classes:
            raise ValueError(
                f"labels are {labels.tolist()}; this augmenter knows 0 to {self.augmenter.num_classes - 1}"
            )

    @torch.no_grad()
    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Augments one input."""
        decided: Params = params["decided"]
        if isinstance(inpt, tv_tensors.Mask):
            return move_mask(inpt, self.augmenter.maps(decided))
        if isinstance(inpt, (tv_tensors.BoundingBoxes, tv_tensors.KeyPoints)):
            return move_points(inpt, self.augmenter.maps(decided))
        if isinstance(inpt, PIL.Image.Image) and (self.augmenter.is_geometric or inpt.mode in NEAREST_MODES):
            return move_picture(inpt, self.augmenter.maps(decided))
        batch, give_back = as_batch(inpt, is_geometric=self.augmenter.is_geometric)
        if len(batch) != len(decided[0]):
            if len(decided[0]) != 1 or not isinstance(inpt, tv_tensors.Video):
                raise ValueError(
                    f"got {len(decided[0])} and {len(batch)} images in one sample; give equally many of each"
                )
            decided = tuple(part.expand(len(batch), *part.shape[1:]) for part in decided)
        rows = tuple(part.to(batch.device) for part in decided)
        return give_back(self.augmenter.carry_out(batch, rows) if batch.numel() else batch)

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
