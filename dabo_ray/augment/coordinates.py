"""Distributions over coordinates in which a spread means something, the same for every kind of transformation."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dabo_ray.augment.augmenter import Augmenter

INITIAL_SPREAD = 0.07
"""Standard deviation of a coordinate before learning: 4 degrees, 7 %, 3.5 % of the side."""

LARGEST_LOG_SPREAD = 10.0
"""Coordinates have long reached their bounds there; exp must not overflow."""

NETWORK_LR = 0.1
"""Step size of the network over that of the spreads, which carry most of the signal."""

PRIOR = 0.3
"""Signal to noise of a gradient that a spread must show to go far from its first value, see `ShrunkAdam`."""

REST = 20.0
"""By how much the logarithm of a spread is lower at rest."""


class CoordinateAugmenter(Augmenter):
    """An augmenter that draws bounded coordinates around zero, which stands for no change.

    Coordinate k of an image is pi tanh(c_k / pi) with

        c_k = exp(s_k) (sqrt(3) z_k + f_k(z))

    with noise z, a network f that starts at zero and shapes and joins the distributions, and s_k the learned logarithm
    of a spread. A step of s_k changes a spread by a factor, so that small ones and large ones are learned as fast.
    Conditioned on the class, s_k has an offset for each class. Conditioned on the image, the network adds to s_k.
    With a centred network coordinates are odd in the noise, whatever the weights.

    The arguments are those of `Augmenter`; `noise` is at least one per coordinate.

    Reference: Benton et al. 2020 (Augerino) for learned widths of generators.
    """

    INITIAL_SPREADS: ClassVar[dict[str, float]] = {}
    """Operation -> spread before learning, where it is not `INITIAL_SPREAD`."""

    def add_weights(self) -> None:
        """The spreads, and the network's last layer at zero.

        Raises:
            ValueError: the noise has too few dimensions.
        """
        if self.noise < len(self.used):
            raise ValueError(
                f"{', '.join(self.operations)} need noise of {len(self.used)} dimensions or more, got {self.noise}"
            )
        spreads = {
            place: self.INITIAL_SPREADS.get(name, INITIAL_SPREAD)
            for name in self.operations
            for place in self.OPERATIONS[name]
        }
        if self.used:
            self.log_spread = nn.Parameter(torch.tensor([math.log(spreads[place]) for place in self.used]))
        if self.used and self.conditioning == "class":
            self.class_log_spread = nn.Parameter(torch.zeros(self.num_classes, len(self.used)))
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    @torch.no_grad()
    def rest(self) -> bool:
        """Spreads of next to nothing."""
        if self.used:
            self.log_spread.sub_(REST)
        return bool(self.used)

    @torch.no_grad()
    def wake(self) -> None:
        """The first spreads again."""
        if self.used:
            self.log_spread.add_(REST)

    def even_outputs(self) -> int:
        """The factors by which a network that sees the image changes the spreads, as logarithms."""
        return len(self.used) if self.conditioning == "image" else 0

    def coordinates(self, draws: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, K) coordinates of all operations, between -pi and pi; zero for operations that are not used."""
        return self._coordinates(draws, self.raw(draws, context), context)

    def _coordinates(self, draws: Tensor, raw: Tensor, context: Tensor | None) -> Tensor:
        count = len(self.used)
        if not count:
            return self.embed(draws[:, :0])
        log_spread: Tensor = self.log_spread
        if self.conditioning == "class" and context is not None:
            log_spread = log_spread + context @ self.class_log_spread
        if self.conditioning == "image":
            log_spread = log_spread + raw[:, count : 2 * count]
        spread = log_spread.clamp(max=LARGEST_LOG_SPREAD).exp()
        unbounded = spread * (math.sqrt(3) * draws[:, :count] + raw[:, :count])
        return self.embed(math.pi * torch.tanh(unbounded / math.pi))

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """The spreads, number by number; the network, which learns more slowly and as a whole; all else."""
        network = list(self.network.parameters())
        spreads = [self.log_spread] if self.used else []
        apart = {id(weight) for weight in (*network, *spreads)}
        return [
            {"params": spreads, "lr": lr, "log_spread": True, "prior": PRIOR},
            {"params": network, "lr": NETWORK_LR * lr, "pooled": True},
            {"params": [weight for weight in self.parameters() if id(weight) not in apart], "lr": lr, "prior": PRIOR},
        ]
