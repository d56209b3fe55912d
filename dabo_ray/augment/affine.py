"""Learned affine maps: rotation, scale, aspect, shear, translation."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod

import torch
from torch import Tensor

from dabo_ray.augment import functional as F
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.coordinates import CoordinateAugmenter
from dabo_ray.augment.fixed import Params

GENERATORS = ("rotation", "scale", "aspect", "shear", "translation_x", "translation_y")
"""One-parameter families of maps: an angle in radians, logarithms of factors, a shear, halves of the width and of the
height."""

AFFINE_OPERATIONS: dict[str, tuple[int, ...]] = {
    "rotation": (0,),
    "scale": (1,),
    "aspect": (2,),
    "shear": (3,),
    "translation": (4, 5),
}
"""Operation -> its coordinates, as indexes into `GENERATORS`."""

MATRIX_OPERATIONS: dict[str, tuple[int, ...]] = {"linear": (0, 1, 3, 4), "translation": (2, 5)}
"""Operation -> its numbers in a 2x3 matrix, row by row."""

SERIES_TERMS = 14
"""Enough for float64 within the bounds of the coordinates."""


class BaseAffineAugmenter(Augmenter):
    """An augmenter whose transformations are affine maps that tell where each output pixel is read."""

    @abstractmethod
    def theta(self, draws: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, 2, 3) maps of output to input coordinates, see `functional.warp`."""

    def decide(self, draws: Tensor, context: Tensor | None = None) -> Params:
        """The maps."""
        return (self.theta(draws, context),)

    def change(self, images: Tensor, decided: Params) -> Tensor:
        """Warped images."""
        return F.warp(images, self.maps(decided).to(images.dtype))

    def maps(self, decided: Params) -> Tensor:
        """Themselves."""
        (theta,) = decided
        return theta

    @torch.no_grad()
    def samples(self, draws: Tensor, context: Tensor | None = None) -> dict[str, Tensor]:
        """See `affine_samples`."""
        return affine_samples(self.theta(draws, context))

    @torch.no_grad()
    def spread(self, draws: Tensor, context: Tensor | None = None) -> dict[str, float]:
        """See `affine_spread`."""
        return affine_spread(self.theta(draws, context))


class AffineMatrixAugmenter(BaseAffineAugmenter):
    """The published form: identity + tanh(network), number by number (Mounsaveng et al. 2021, section 3).

    With `hidden=[6, 60], dropout=0.2, centred=False` it has the 828 weights of the published `small_affine`. The
    arguments are those of `Augmenter`.

    >>> augmenter = AffineMatrixAugmenter(hidden=[6, 60], dropout=0.2, centred=False)
    >>> sum(weight.numel() for weight in augmenter.parameters())
    828
    """

    OPERATIONS = MATRIX_OPERATIONS

    def theta(self, draws: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, 2, 3) maps of output to input coordinates, see `functional.warp`."""
        return matrix_map(self.embed(torch.tanh(self.raw(draws, context))))


class AffineAugmenter(CoordinateAugmenter, BaseAffineAugmenter):
    """A distribution over affine maps in the coordinates of `GENERATORS`, see `CoordinateAugmenter`.

    The linear part is the exponential of the coordinates' generators, so z and -z give a matrix and its inverse: the
    identity is the centre. The arguments are those of `Augmenter`, its operations `AFFINE_OPERATIONS`.

    >>> augmenter = AffineAugmenter()
    >>> images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> (draws,) = augmenter.draw(8, torch.Generator().manual_seed(1))
    >>> augmented = augmenter(images, draws)
    >>> augmented.shape, augmented.requires_grad
    (torch.Size([8, 3, 32, 32]), True)
    >>> (draws,) = augmenter.draw(10_000, torch.Generator().manual_seed(0))
    >>> round(augmenter.spread(draws)["rotation_spread_deg"])
    4
    """

    OPERATIONS = AFFINE_OPERATIONS

    def theta(self, draws: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, 2, 3) maps of output to input coordinates, see `functional.warp`."""
        return affine_map(self.coordinates(draws, context))


def matrix_map(numbers: Tensor) -> Tensor:
    """(B, 2, 3) maps: the identity plus (B, 6) numbers."""
    return torch.eye(2, 3, dtype=numbers.dtype, device=numbers.device) + numbers.view(-1, 2, 3)


def affine_map(coordinates: Tensor) -> Tensor:
    """(B, 2, 3) maps [exp(G), t] of (B, 6) coordinates in the order of GENERATORS.

    With rotation r, scale s, aspect a, shear h: G = s I + B, B = [[a, h - r], [h + r, -a]]. B^2 = q I with
    q = a^2 + h^2 - r^2, so exp(G) = e^s (C(q) I + S(q) B) with C(q) = sum q^k / (2k)! and S(q) = sum q^k / (2k + 1)!,
    which are cosine and sine of sqrt(-q) or their hyperbolic kin, without a branch and smooth at 0.
    """
    rotation, scale, aspect, shear, *translation = coordinates.unbind(1)
    q = aspect.square() + shear.square() - rotation.square()
    exponents, coefficients = _series(q.dtype, q.device)
    even, odd = ((q[:, None] ** exponents)[:, :, None] * coefficients).sum(1).unbind(1)
    factor = scale.exp()
    top = torch.stack((even + odd * aspect, odd * (shear - rotation)), 1)
    bottom = torch.stack((odd * (shear + rotation), even - odd * aspect), 1)
    linear = factor[:, None, None] * torch.stack((top, bottom), 1)
    return torch.cat((linear, torch.stack(translation, 1).unsqueeze(2)), 2)


@functools.cache
def _series(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Exponents of q, and its coefficients in C and S, (terms, 2)."""
    inverses = [[1 / math.factorial(2 * k), 1 / math.factorial(2 * k + 1)] for k in range(SERIES_TERMS)]
    return torch.arange(SERIES_TERMS, dtype=dtype, device=device), torch.tensor(inverses, dtype=dtype, device=device)


class _Shape:
    """What affine maps, (N, 2, 3), do, in float64."""

    def __init__(self, theta: Tensor) -> None:
        self.theta = theta.detach().cpu().double()
        a, b, c, d = self.theta[:, :, :2].flatten(1).unbind(1)
        # The rotation of the polar decomposition; its mean is over directions, so that +180 and -180 are neighbours.
        angle = torch.atan2(c - b, a + d)
        self.mean_angle = torch.atan2(angle.sin().mean(), angle.cos().mean())
        self.angle = torch.remainder(angle - self.mean_angle + math.pi, 2 * math.pi) - math.pi
        self.scale = (a * d - b * c).abs().sqrt()
        wide, high = a * a + c * c, b * b + d * d
        cosine = (a * b + c * d) / (wide * high).sqrt().clamp(min=1e-12)
        self.shear = cosine.clamp(-1, 1).asin()
        self.aspect = (wide.clamp(min=1e-12) / high.clamp(min=1e-12)).pow(0.25)


def affine_samples(theta: Tensor) -> dict[str, Tensor]:
    """What (N, 2, 3) maps do to a picture, see `Augmenter.samples`.

    A map tells where a picture is read, so a picture is moved against its offset, magnified by the inverse of its
    scale, and turned counter-clockwise by its angle. Shear is by how much the corners of a square differ from 90
    degrees, aspect how much more the height is magnified than the width; all of these are those of the pixels of square
    and rectangular images alike. Translations are in percent of the width along x, of the height along y.
    """
    shape = _Shape(theta)
    # Coordinates run over 2 units, the side.
    x, y = (-50 * shape.theta[:, :, 2]).unbind(1)
    return {
        "rotation_deg": torch.rad2deg(shape.angle + shape.mean_angle),
        "scale_factor": 1 / shape.scale.clamp(min=1e-6),
        "aspect_factor": shape.aspect,
        "shear_deg": torch.rad2deg(shape.shear),
        "translation_x_percent": x,
        "translation_y_percent": y,
    }


def affine_spread(theta: Tensor) -> dict[str, float]:
    """Standard deviations of rotation and shear (degrees), scale, aspect and translation (percent)."""
    shape = _Shape(theta)
    return {
        "rotation_spread_deg": math.degrees(shape.angle.square().mean().sqrt()),
        "scale_spread_percent": 100 * float(shape.scale.std(correction=0)),
        "aspect_spread_percent": 100 * float(shape.aspect.std(correction=0)),
        "shear_spread_deg": math.degrees(shape.shear.std(correction=0)),
        "translation_spread_percent": 50 * float(shape.theta[:, :, 2].var(0, correction=0).mean().sqrt()),
    }
