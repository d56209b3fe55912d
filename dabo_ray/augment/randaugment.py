"""TrivialAugment and RandAugment: operations drawn uniformly, nothing to learn."""

from __future__ import annotations

import torch
from torch import Tensor

from dabo_ray.augment.autoaugment_operations import OPERATIONS, Space, apply_chain, look_up, warped_masks
from dabo_ray.augment.fixed import Params, Uint8Augmentation
from dabo_ray.augment.masks import are_masks

BINS = 31
"""Magnitudes from none to the strongest."""

_SMALL = torch.linspace(0.0, 0.99, BINS)
_PIXELS = torch.linspace(0.0, 32.0, BINS)
_NONE = torch.zeros(BINS)

TRIVIALAUGMENT_SPACE: Space = {
    "Identity": (_NONE, False),
    "ShearX": (_SMALL, True),
    "ShearY": (_SMALL, True),
    "TranslateX": (_PIXELS, True),
    "TranslateY": (_PIXELS, True),
    "Rotate": (torch.linspace(0.0, 135.0, BINS), True),
    "Brightness": (_SMALL, True),
    "Color": (_SMALL, True),
    "Contrast": (_SMALL, True),
    "Sharpness": (_SMALL, True),
    "Posterize": ((8 - torch.arange(BINS) / ((BINS - 1) / 6)).round(), False),
    "Solarize": (torch.linspace(1.0, 0.0, BINS), False),
    "AutoContrast": (_NONE, False),
    "Equalize": (_NONE, False),
}
"""The wide space. The order is the order of torchvision's `TrivialAugmentWide`, and that of `OPERATIONS`."""


def autoaugment_space(num_bins: int, height: int, width: int) -> Space:
    """The space of AutoAugment and, without Invert, of RandAugment; translations go with the size of the images."""
    factors, none = torch.linspace(0.0, 0.9, num_bins), torch.zeros(num_bins)
    return {
        "Identity": (none, False),
        "ShearX": (torch.linspace(0.0, 0.3, num_bins), True),
        "ShearY": (torch.linspace(0.0, 0.3, num_bins), True),
        "TranslateX": (torch.linspace(0.0, 150.0 / 331.0 * width, num_bins), True),
        "TranslateY": (torch.linspace(0.0, 150.0 / 331.0 * height, num_bins), True),
        "Rotate": (torch.linspace(0.0, 30.0, num_bins), True),
        "Brightness": (factors, True),
        "Color": (factors, True),
        "Contrast": (factors, True),
        "Sharpness": (factors, True),
        "Posterize": ((8 - torch.arange(num_bins) / ((num_bins - 1) / 4)).round(), False),
        "Solarize": (torch.linspace(1.0, 0.0, num_bins), False),
        "AutoContrast": (none, False),
        "Equalize": (none, False),
        "Invert": (none, False),
    }


class TrivialAugmentWide(Uint8Augmentation):
    """One operation at one strength for each image, both uniform; equals torchvision's transform on 8-bit images.

    Floating point images are taken as multiples of 1/255.

    Reference: Mueller and Hutter, TrivialAugment, ICCV 2021, the wide space.

    >>> levels = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    >>> augment = TrivialAugmentWide()
    >>> images = augment.apply_uint8(levels, augment.draw(8, torch.Generator().manual_seed(1)))
    >>> images.shape, images.dtype
    (torch.Size([8, 3, 32, 32]), torch.float32)
    """

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Which operation, by its number in `OPERATIONS`, and its magnitude with sign."""
        operations = torch.randint(len(TRIVIALAUGMENT_SPACE), (num_images,), generator=generator)
        bins = torch.randint(BINS, (num_images,), generator=generator)
        negative = torch.rand(num_images, generator=generator) <= 0.5
        return look_up(TRIVIALAUGMENT_SPACE, operations, bins, negative)

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Run each image's operation."""
        return apply_chain(images, *self._chain(images, params))

    def targets(self, labels: Tensor, images: Tensor, params: Params) -> Tensor:
        """Labels as they are, masks moved."""
        return warped_masks(labels, *self._chain(images, params)) if are_masks(labels) else labels

    def _chain(self, images: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """Operations and magnitudes, see `apply_chain`."""
        del images
        operations, magnitudes = params
        return operations[:, None], magnitudes[:, None]


class RandAugment(Uint8Augmentation):
    """A number of operations for each image, drawn uniformly, all at one strength; equals torchvision's transform.

    Floating point images are taken as multiples of 1/255.

    Args:
        num_ops: operations one after the other (N), at least 1.
        magnitude: their strength (M), 0 to 30.

    Raises:
        ValueError: a number is out of its range.

    Reference: Cubuk et al. 2020.

    >>> images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> RandAugment(num_ops=1, magnitude=14)(images, torch.Generator().manual_seed(1)).shape
    torch.Size([8, 3, 32, 32])
    """

    def __init__(self, *, num_ops: int = 2, magnitude: int = 9) -> None:
        if num_ops < 1 or not 0 <= magnitude < BINS:
            raise ValueError(f"got num_ops={num_ops}, magnitude={magnitude}; give 1 or more, and 0 to {BINS - 1}")
        self.num_ops, self.magnitude = num_ops, magnitude

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """The operations, by their numbers in `OPERATIONS`, and whether the sign of their magnitudes is turned."""
        shape = (num_images, self.num_ops)
        operations = torch.randint(OPERATIONS.index("Invert"), shape, generator=generator)
        return operations, torch.rand(shape, generator=generator) <= 0.5

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Run each image's operations."""
        return apply_chain(images, *self._chain(images, params))

    def targets(self, labels: Tensor, images: Tensor, params: Params) -> Tensor:
        """Labels as they are, masks moved."""
        return warped_masks(labels, *self._chain(images, params)) if are_masks(labels) else labels

    def _chain(self, images: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """Operations and magnitudes, see `apply_chain`."""
        operations, negative = params
        bins = torch.full_like(operations, self.magnitude)
        space = autoaugment_space(BINS, *images.shape[-2:])
        return look_up(space, operations, bins, negative)
