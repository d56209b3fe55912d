"""Fixed augmentation: random transformations of a batch that are not learned.

Drawing is apart from applying: `draw` makes the random numbers of a global batch on the CPU, one row per image, and
`apply` takes the rows of whichever images it is given. So the result does not depend on the device, nor on how many
workers share the batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor

from dabo_ray.augment.functional import to_unit

Params = tuple[Tensor, ...]
"""Random numbers on the CPU; the first dimension of each tensor is the image."""


class FixedAugmentation(ABC):
    """A random transformation of a batch, each image by its own draw.

    Images are (B, C, H, W), C = 1 or 3, floating point in [0, 1], and stay of their type and shape; uint8 images are
    for `apply_uint8`. Neither the images given nor torch's global generator are changed.

    >>> images = torch.arange(8.0).view(2, 1, 2, 2) / 8
    >>> augment = Compose([Identity()])
    >>> augment(images, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 1, 2, 2])
    >>> params = augment.draw(2, torch.Generator().manual_seed(0))
    >>> torch.equal(augment.apply(images[1:], tuple(part[1:] for part in params)), images[1:])
    True
    """

    @abstractmethod
    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Draw what `apply` needs for `num_images` images; the generator is one of the CPU."""

    @abstractmethod
    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Transform each image by its row of `params`; the images given stay as they are.

        Raises:
            ValueError: the images are of another shape or type, or the parameters are those of other images.
        """

    def apply_uint8(self, levels: Tensor, params: Params) -> Tensor:
        """`apply` to uint8 images; they come out as float32 in [0, 1].

        What works on 8-bit levels anyway overrides it, which saves passes over memory.

        Raises:
            ValueError: the images are of another shape or type, or the parameters are those of other images.
        """
        check_uint8(levels, params)
        return self.apply(to_unit(levels), params)

    def to(self, device: torch.device) -> Self:
        """Itself, with the weights that it may have moved to a device."""
        return self

    def targets(self, labels: Tensor, images: Tensor, params: Params) -> Tensor:
        """What the classifier is to say of the transformed images.

        Args:
            labels: (B,) int64, (B, num_classes) shares of the classes, or (B, H, W) masks, see `masks`.
            images: as they were given to `apply` or `apply_uint8`.
            params: as they were given with them.

        Returns:
            The labels themselves; masks that are moved with the images, by the nearest pixel; or (B, num_classes)
            shares where images are mixed with others.
        """
        return labels

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw for these images and apply; raises as `apply` does."""
        return self.apply(images, self.draw(len(images), generator))


class Identity(FixedAugmentation):
    """No augmentation."""

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Nothing to draw."""
        return ()

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """The images themselves."""
        return images


class Uint8Augmentation(FixedAugmentation):
    """A transformation that works on 8-bit levels: uint8 images need no conversion before it."""

    @abstractmethod
    def transform(self, images: Tensor, params: Params) -> Tensor:
        """What `apply` does to floating point images and `apply_uint8` to uint8 ones."""

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """`transform` the images, taken as multiples of 1/255."""
        check_batch(images, params)
        return self.transform(images, params)

    def apply_uint8(self, levels: Tensor, params: Params) -> Tensor:
        """`transform` the levels."""
        check_uint8(levels, params)
        return self.transform(levels, params)


class AnyDtypeAugmentation(FixedAugmentation):
    """A transformation that moves pixels and makes none but zeros: images may be of any type, and stay of it."""

    @abstractmethod
    def transform(self, images: Tensor, params: Params) -> Tensor:
        """What both `apply` and `apply_uint8` do; there are no gradients."""

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """`transform` the pixels."""
        check_batch(images, params)
        return self.transform(images, params)

    def apply_uint8(self, levels: Tensor, params: Params) -> Tensor:
        """`transform` the levels: a quarter of the memory."""
        check_uint8(levels, params)
        return to_unit(self.transform(levels, params))


class Compose(FixedAugmentation):
    """One transformation after the other.

    Args:
        steps: from the first to the last.
    """

    def __init__(self, steps: Sequence[FixedAugmentation]) -> None:
        self.steps = tuple(steps)
        self._lengths = [len(step.draw(1, torch.Generator())) for step in self.steps]

    def to(self, device: torch.device) -> Self:
        """Itself, with the weights of the steps moved."""
        for step in self.steps:
            step.to(device)
        return self

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """The numbers of all steps, in their order."""
        return tuple(values for step in self.steps for values in step.draw(num_images, generator))

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """All steps in their order."""
        for step, own in self._with_params(params):
            images = step.apply(images, own)
        return images

    def apply_uint8(self, levels: Tensor, params: Params) -> Tensor:
        """All steps in their order; levels stay levels as long as pixels are only moved."""
        check_uint8(levels, params)
        images = levels
        for step, own in self._with_params(params):
            if images.is_floating_point():
                images = step.apply(images, own)
            elif isinstance(step, AnyDtypeAugmentation):
                images = step.transform(images, own)
            else:
                images = step.apply_uint8(images, own)
        return images if images.is_floating_point() else to_unit(images)

    def targets(self, labels: Tensor, images: Tensor, params: Params) -> Tensor:
        """What the steps make of the labels; no step changes the size of the images."""
        for step, own in self._with_params(params):
            labels = step.targets(labels, images, own)
        return labels

    def _with_params(self, params: Params) -> Iterator[tuple[FixedAugmentation, Params]]:
        start = 0
        for step, length in zip(self.steps, self._lengths, strict=True):
            yield step, params[start : start + length]
            start += length


def check_batch(images: Tensor, params: Params) -> None:
    """Refuses what no augmentation can work on.

    Raises:
        ValueError: not a floating point batch of grey or colour images, or parameters of other images.
    """
    _check(images, params, images.is_floating_point(), "a floating point batch (B, C, H, W) in [0, 1]")


def check_uint8(levels: Tensor, params: Params) -> None:
    """Refuses what `FixedAugmentation.apply_uint8` cannot work on.

    Raises:
        ValueError: not a uint8 batch of grey or colour images, or parameters of other images.
    """
    _check(levels, params, levels.dtype == torch.uint8, "a uint8 batch (B, C, H, W)")


def _check(images: Tensor, params: Params, is_of_type: bool, wanted: str) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not is_of_type:
        raise ValueError(
            f"got images of shape {tuple(images.shape)} and type {images.dtype}; give {wanted} with 1 or 3 channels"
        )
    if any(len(values) != len(images) for values in params):
        raise ValueError(
            f"got {len(images)} images but parameters for {[len(values) for values in params]}; "
            "take the rows of the parameters that belong to the images"
        )
