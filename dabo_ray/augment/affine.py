"""Learned affine maps: rotation, scale, aspect, shear, translation."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from dabo_ray.augment.learned import Augmenter
from dabo_ray.augment.ops import affine_warp

GENERATORS = ("rotation", "scale", "aspect", "shear", "translation_x", "translation_y")
"""One-parameter families of maps: an angle in radians, logarithms of factors, a shear, halves of the side."""

INITIAL_SPREAD = 0.05
"""Standard deviation of every coordinate before learning: 3 degrees, 5 %, 2.5 % of the side."""

NETWORK_LR = 0.1
"""Step size of the network over that of the spreads, which carry most of the signal."""

SERIES_TERMS = 14
"""Enough for float64 within the bounds of the coordinates."""


class Affine(Augmenter):
    """An augmenter whose transformations are affine maps that tell where each output pixel is read."""

    @abstractmethod
    def theta(self, noise: Tensor) -> Tensor:
        """(B, 2, 3) maps of output to input coordinates, see `affine_warp`."""

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """Warped images."""
        return affine_warp(images, self.theta(noise))

    @torch.no_grad()
    def spread(self, noise: Tensor) -> dict[str, float]:
        """Standard deviations of rotation and shear (degrees), scale and translation (percent of the side)."""
        theta = self.theta(noise).cpu().double()
        a, b, c, d = theta[:, :, :2].flatten(1).unbind(1)
        # The rotation of the polar decomposition; its mean is over directions, so that +180 and -180 are neighbours.
        angle = torch.atan2(c - b, a + d)
        centre = torch.atan2(angle.sin().mean(), angle.cos().mean())
        angle = torch.remainder(angle - centre + math.pi, 2 * math.pi) - math.pi
        scale = (a * d - b * c).abs().sqrt()
        cosine = (a * b + c * d) / ((a * a + c * c) * (b * b + d * d)).sqrt().clamp(min=1e-12)
        shear = cosine.clamp(-1, 1).asin()
        return {
            "rotation_spread_deg": math.degrees(angle.square().mean().sqrt()),
            "scale_spread_percent": 100 * float(scale.std(correction=0)),
            "shear_spread_deg": math.degrees(shear.std(correction=0)),
            # Coordinates run over 2 units, the side.
            "translation_spread_percent": 50 * float(theta[:, :, 2].var(0, correction=0).mean().sqrt()),
        }


class MatrixAugmenter(Affine):
    """The published form: identity + tanh(network), number by number (Mounsaveng et al. 2021, section 3)."""

    def __init__(self, noise: int = 6, hidden: int = 32, depth: int = 1, centred: bool = True) -> None:
        super().__init__(noise, hidden, depth, 6, centred)

    def theta(self, noise: Tensor) -> Tensor:
        """(B, 2, 3) maps of output to input coordinates, see `affine_warp`."""
        identity = torch.eye(2, 3, dtype=noise.dtype, device=noise.device)
        return identity + torch.tanh(self.raw(noise)).view(-1, 2, 3)


class AffineAugmenter(Affine):
    """A distribution over affine maps, in coordinates in which a spread means something.

    Coordinate k of an image's map is exp(s_k) (sqrt(3) z_k + f_k(z)), with noise z, a network f that starts at zero and
    shapes the distribution, and s_k the learned logarithm of a spread. The linear part is the exponential of the
    coordinates' generators, so z and -z give a matrix and its inverse: the identity is the centre. A step of s_k
    changes a spread by a factor, so that small ones and large ones are learned as fast.

    Args:
        noise: dimension of the noise, at least 6.
        hidden: units of each hidden layer of f.
        depth: hidden layers of f.
        centred: f is made odd; otherwise it may move the centre.

    Raises:
        ValueError: the noise has too few dimensions.

    Reference: Benton et al. 2020 (Augerino) for learned widths of generators.
    """

    def __init__(self, noise: int = 6, hidden: int = 32, depth: int = 1, centred: bool = True) -> None:
        if noise < len(GENERATORS):
            raise ValueError(f"affine needs noise of {len(GENERATORS)} dimensions or more, got {noise}")
        super().__init__(noise, hidden, depth, len(GENERATORS), centred)
        self.log_spread = nn.Parameter(torch.full((len(GENERATORS),), math.log(INITIAL_SPREAD)))
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def coordinates(self, noise: Tensor) -> Tensor:
        """(B, 6) coordinates in the order of GENERATORS, between -pi and pi."""
        unbounded = self.log_spread.exp() * (math.sqrt(3) * noise[:, : len(GENERATORS)] + self.raw(noise))
        return math.pi * torch.tanh(unbounded / math.pi)

    def theta(self, noise: Tensor) -> Tensor:
        """(B, 2, 3) maps of output to input coordinates, see `affine_warp`."""
        return affine_map(self.coordinates(noise))

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """The spreads, each by itself, and the network, which learns more slowly and as a whole."""
        return [
            {"params": [self.log_spread], "lr": lr},
            {"params": list(self.network.parameters()), "lr": NETWORK_LR * lr, "pooled": True},
        ]


def affine_map(coordinates: Tensor) -> Tensor:
    """(B, 2, 3) maps [exp(G), t] of (B, 6) coordinates in the order of GENERATORS.

    With rotation r, scale s, aspect a, shear h: G = s I + B, B = [[a, h - r], [h + r, -a]]. B^2 = q I with
    q = a^2 + h^2 - r^2, so exp(G) = e^s (C(q) I + S(q) B) with C(q) = sum q^k / (2k)! and S(q) = sum q^k / (2k + 1)!,
    which are cosine and sine of sqrt(-q) or their hyperbolic kin, without a branch and smooth at 0.
    """
    rotation, scale, aspect, shear, *translation = coordinates.unbind(1)
    q = aspect.square() + shear.square() - rotation.square()
    even, odd = torch.zeros_like(q), torch.zeros_like(q)
    for k in reversed(range(SERIES_TERMS)):
        even = 1 + even * q / ((2 * k + 1) * (2 * k + 2))
        odd = 1 + odd * q / ((2 * k + 2) * (2 * k + 3))
    factor = scale.exp()
    top = torch.stack((even + odd * aspect, odd * (shear - rotation)), 1)
    bottom = torch.stack((odd * (shear + rotation), even - odd * aspect), 1)
    linear = factor[:, None, None] * torch.stack((top, bottom), 1)
    return torch.cat((linear, torch.stack(translation, 1).unsqueeze(2)), 2)
