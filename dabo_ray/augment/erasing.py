"""Rectangles cut out of images: Cutout and random erasing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dabo_ray.augment.fixed import AnyDtypeAugmentation, FixedAugmentation, Params, check_batch, check_uint8
from dabo_ray.augment.functional import to_unit
from dabo_ray.transfer import sent_as

ATTEMPTS = 10
"""Rectangles that are tried for an image before it stays whole, as in torchvision."""


class Cutout(AnyDtypeAugmentation):
    """Blacken a square whose centre is any pixel; what lies outside the image is lost.

    Args:
        size: side of the square in pixels, at least 1; None: half the shorter side of the image, 16 for CIFAR's 32.

    Raises:
        ValueError: the size is under 1.

    Reference: DeVries and Taylor 2017.

    >>> Cutout(size=1)(torch.ones(2, 1, 1, 3), torch.Generator().manual_seed(0)).flatten(1).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]
    """

    def __init__(self, *, size: int | None = None) -> None:
        if size is not None and size < 1:
            raise ValueError(f"got size={size}; give at least 1 pixel, or None for half the shorter side")
        self.size = size

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """The centre, in [0, 1) of height and width."""
        return (torch.rand(num_images, 2, generator=generator, dtype=torch.float64),)

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Blacken a square of each image."""
        (centres,) = params
        sides = torch.tensor(images.shape[-2:])
        size = int(sides.min()) // 2 if self.size is None else self.size
        first = (centres * sides).floor().long() - size // 2
        return images * (1 - inside(first, first + size, images))


class RandomErasing(FixedAugmentation):
    """Paint a rectangle of random place, area and aspect in some of the images.

    Args:
        probability: that an image is painted in.
        scale: smallest and largest area of the rectangle over that of the image.
        ratio: smallest and largest height over width; its logarithm is uniform.
        value: of the painted pixels, in [0, 1].

    Raises:
        ValueError: a setting is out of its range.

    Reference: Zhong et al. 2020; torchvision's `RandomErasing`.

    >>> painted = RandomErasing(probability=1)(torch.ones(1, 1, 32, 32), torch.Generator().manual_seed(0))
    >>> 0.02 <= float((painted == 0).float().mean()) <= 0.34
    True
    """

    def __init__(
        self,
        *,
        probability: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float = 0.0,
    ) -> None:
        are_pairs = 0 <= scale[0] <= scale[1] <= 1 and 0 < ratio[0] <= ratio[1]
        if not (are_pairs and 0 <= probability <= 1 and 0 <= value <= 1):
            raise ValueError(
                f"got probability={probability}, scale={scale}, ratio={ratio}, value={value}; give a probability and a "
                "value in [0, 1], and pairs (low, high): areas in [0, 1], ratios over 0"
            )
        self.probability, self.scale, self.ratio, self.value = probability, scale, ratio, value

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Whether to paint; shares of the area and aspects, an attempt a column; the corner in [0, 1) of its room."""
        chosen = torch.rand(num_images, generator=generator) < self.probability
        uniform = torch.rand(num_images, 2 * ATTEMPTS + 2, generator=generator, dtype=torch.float64)
        (low, high), (flat, tall) = self.scale, map(math.log, self.ratio)
        areas = low + (high - low) * uniform[:, :ATTEMPTS]
        aspects = (flat + (tall - flat) * uniform[:, ATTEMPTS:-2]).exp()
        return chosen, areas, aspects, uniform[:, -2:]

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Paint the first rectangle of each image that fits."""
        check_batch(images, params)
        painted = self._painted(images, params)
        return self._filled(images * (1 - painted), painted)

    def apply_uint8(self, levels: Tensor, params: Params) -> Tensor:
        """`apply` to levels, which are blackened first: a quarter of the memory."""
        check_uint8(levels, params)
        painted = self._painted(levels, params)
        return self._filled(to_unit(levels * (1 - painted)), painted)

    def _filled(self, blackened: Tensor, painted: Tensor) -> Tensor:
        return blackened.add_(painted.to(blackened.dtype), alpha=self.value) if self.value else blackened

    def _painted(self, images: Tensor, params: Params) -> Tensor:
        chosen, areas, aspects, corners = params
        sides = torch.tensor(images.shape[-2:])
        pixels = areas * sides.prod()
        shapes = torch.stack(((pixels * aspects).sqrt().round(), (pixels / aspects).sqrt().round()), dim=2).long()
        fits = (shapes < sides).all(dim=2)
        first_fit = fits.long().argmax(dim=1)
        shape = shapes[torch.arange(len(shapes)), first_fit] * (chosen & fits.any(dim=1))[:, None]
        first = (corners * (sides - shape + 1)).floor().long()
        return inside(first, first + shape, images)


def inside(first: Tensor, end: Tensor, images: Tensor) -> Tensor:
    """The pixels of a rectangle in each image, (B, 1, H, W) of the images' type: 1 within, 0 elsewhere.

    To multiply by it is several times faster on a CPU than to choose by a mask of booleans.

    Args:
        first: (B, 2) first row and column.
        end: (B, 2) the row and the column after the last.
        images: (B, C, H, W), for the size, the type and the device.
    """
    first, end = sent_as(torch.stack((first, end)), images, torch.int64)
    masks = []
    for axis, side in enumerate(images.shape[-2:]):
        place = torch.arange(side, device=images.device)
        masks.append(((place >= first[:, axis, None]) & (place < end[:, axis, None])).to(images.dtype))
    rows, columns = masks
    return rows[:, None, :, None] * columns[:, None, None, :]
