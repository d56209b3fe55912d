"""Learned affine maps and colours: brightness, contrast, saturation and hue, each image in its own random order."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dabo_ray.augment import functional as F
from dabo_ray.augment.affine import (
    AFFINE_OPERATIONS,
    GENERATORS,
    MATRIX_OPERATIONS,
    affine_map,
    affine_samples,
    affine_spread,
    matrix_map,
)
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.coordinates import CoordinateAugmenter
from dabo_ray.augment.fixed import Params

BLENDS = ("brightness", "contrast", "saturation")
"""Tones that move an image away from, or towards, another one: black, its mean grey, its grey image."""

FIRST_TONE = len(GENERATORS)
"""Place of brightness among the numbers; contrast, saturation and hue follow."""

TONE_OPERATIONS: dict[str, tuple[int, ...]] = {
    name: (FIRST_TONE + place,) for place, name in enumerate((*BLENDS, "hue"))
}

NUM_KEYS = len(BLENDS) + 1
"""Random numbers that decide an order."""


@dataclass(frozen=True)
class Tones:
    """Parameters of the tones, a row per image."""

    factors: Tensor
    """(B, 3), at least 0, in the order of `BLENDS`; 1 is no change."""

    turns: Tensor
    """(B,), hue in full circles, in [-0.5, 0.5]; 0 is no change."""

    def spread(self) -> dict[str, float]:
        """Standard deviations of the factors (percent) and of the hue (degrees)."""
        factors, turns = self.factors.detach().cpu().double(), self.turns.detach().cpu().double()
        spreads = (100 * factors.std(0, correction=0)).tolist()
        return {f"{name}_spread_percent": spread for name, spread in zip(BLENDS, spreads, strict=True)} | {
            "hue_spread_deg": 360 * float(turns.std(correction=0))
        }

    def samples(self) -> dict[str, Tensor]:
        """See `Augmenter.samples`."""
        factors = self.factors.detach()
        return {f"{name}_factor": factors[:, place] for place, name in enumerate(BLENDS)} | {
            "hue_deg": 360 * self.turns.detach()
        }


def tones_of(coordinates: Tensor) -> Tones:
    """Tones of (B, 4) coordinates: logarithms of the factors, and the angle of the hue in radians, up to pi."""
    return Tones(coordinates[:, :3].exp(), coordinates[:, 3] / (2 * math.pi))


def adjust_tones(images: Tensor, tones: Tones, keys: Tensor) -> Tensor:
    """Change the tones of each image in its own order; each as torchvision defines it.

    Args:
        images: (B, C, H, W) in [0, 1]; those of one channel have neither saturation nor hue.
        tones: a row per image.
        keys: (B, 4) different numbers; the tone with the smallest key comes first, the last key is the hue's.
    """
    is_grey = images.shape[1] == 1
    order = keys[:, :3].argsort(1)
    before_hue = keys[:, :3] < keys[:, 3:]
    if is_grey:
        return _blend_in_order(images, tones.factors, order, torch.ones_like(before_hue))
    # The hue is the dearest: it is turned once, between the tones that come before it and those that come after.
    images = _blend_in_order(images, tones.factors, order, before_hue)
    if not F.is_idle(tones.turns, 0):
        images = F.hue(images, tones.turns)
    return _blend_in_order(images, tones.factors, order, ~before_hue)


def _blend_in_order(images: Tensor, factors: Tensor, order: Tensor, included: Tensor) -> Tensor:
    """The blends that are included for each image, in its order; the others with a factor of 1, which is exact."""
    if images.shape[1] == 1:
        included = included & (torch.arange(3, device=included.device) < 2)
    shares = torch.where(included, factors, torch.ones_like(factors)).gather(1, order)
    for place, share in zip(order.unbind(1), shares.unbind(1), strict=True):
        if F.is_idle(share, 1):
            continue
        grey = F.grayscale(images)
        of_mean, of_grey = (F.per_image((1 - share) * (place == kind)) for kind in (1, 2))
        other = grey * of_grey + grey.mean(dim=(1, 2, 3), keepdim=True) * of_mean
        images = (images * F.per_image(share) + other).clamp(0, 1)
    return images


class BaseAffineColorAugmenter(Augmenter):
    """An augmenter that changes the tones of an image and then warps it, so that what it leaves empty stays black."""

    ACTIVATION = nn.Tanh

    @abstractmethod
    def parts(self, draws: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tones]:
        """(B, 2, 3) maps of output to input coordinates, see `functional.warp`, and the tones."""

    def chances(self) -> int:
        """The keys of an order."""
        return NUM_KEYS

    def decide(self, draws: Tensor, context: Tensor | None = None) -> Params:
        """The maps, the tones and the keys of their order."""
        theta, tones = self.parts(draws, context)
        return theta, tones.factors, tones.turns, draws[:, -NUM_KEYS:]

    def change(self, images: Tensor, decided: Params) -> Tensor:
        """Coloured and warped images."""
        theta, factors, turns, keys = decided
        if not TONE_OPERATIONS.keys().isdisjoint(self.operations):
            images = adjust_tones(images, Tones(factors, turns), keys)
        return images if TONE_OPERATIONS.keys() >= set(self.operations) else F.warp(images, theta.to(images))

    def maps(self, decided: Params) -> Tensor:
        """The first of what is decided."""
        return decided[0]

    @torch.no_grad()
    def samples(self, draws: Tensor, context: Tensor | None = None) -> dict[str, Tensor]:
        """See `affine_samples` and `Tones`."""
        theta, tones = self.parts(draws, context)
        return affine_samples(theta) | tones.samples()

    @torch.no_grad()
    def spread(self, draws: Tensor, context: Tensor | None = None) -> dict[str, float]:
        """See `affine_spread` and `Tones`."""
        theta, tones = self.parts(draws, context)
        return affine_spread(theta) | tones.spread()


class AffineColorAugmenter(CoordinateAugmenter, BaseAffineColorAugmenter):
    """A distribution over affine maps and tones, see `CoordinateAugmenter`, `affine_map` and `tones_of`.

    The arguments are those of `Augmenter`, its operations `AFFINE_OPERATIONS` and `TONE_OPERATIONS`.

    >>> augmenter = AffineColorAugmenter(operations=["rotation", "brightness", "hue"])
    >>> images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> (draws,) = augmenter.draw(8, torch.Generator().manual_seed(1))
    >>> augmenter(images, draws).shape
    torch.Size([8, 3, 32, 32])
    """

    OPERATIONS = AFFINE_OPERATIONS | TONE_OPERATIONS

    def parts(self, draws: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tones]:
        """The coordinates' map and tones."""
        coordinates = self.coordinates(draws, context)
        return affine_map(coordinates[:, :FIRST_TONE]), tones_of(coordinates[:, FIRST_TONE:])


class AffineColorMatrixAugmenter(BaseAffineColorAugmenter):
    """The published form: each number is its neutral value + tanh(network), half of that for the hue.

    With `noise=10, hidden=[10, 100], centred=False` it has the 2,220 weights of the published `affine_color`
    (Mounsaveng et al. 2021). The arguments are those of `Augmenter`.

    >>> augmenter = AffineColorMatrixAugmenter(noise=10, hidden=[10, 100], centred=False)
    >>> sum(weight.numel() for weight in augmenter.parameters())
    2220
    """

    OPERATIONS = MATRIX_OPERATIONS | TONE_OPERATIONS

    def parts(self, draws: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tones]:
        """The numbers' matrix and tones."""
        numbers = self.embed(torch.tanh(self.raw(draws, context)))
        tones = Tones(1 + numbers[:, FIRST_TONE : FIRST_TONE + 3], numbers[:, FIRST_TONE + 3] / 2)
        return matrix_map(numbers[:, :FIRST_TONE]), tones
