"""The classifier's update as a function, and what flows back through it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Tensors = list[Tensor]


@dataclass(frozen=True, kw_only=True)
class Sgd:
    """Stochastic gradient descent, equal to torch.optim.SGD.

    With gradient g, weights w and velocity m:

        d = g + weight_decay * w;  m' = momentum * m + d;  w' = w - lr * m'                      (plain)
                                                           w' = w - lr * (d + momentum * m')     (nesterov)

    A velocity of zeros before the first update gives torch's first update, which starts with m' = d.
    """

    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def step(
        self, weights: Sequence[Tensor], velocity: Sequence[Tensor], grads: Sequence[Tensor], lr: float
    ) -> Updated:
        """New weights and velocity; the given tensors stay as they are, the new weights are leaves."""
        with torch.no_grad():
            d = list(grads)
            if self.weight_decay:
                d = list(torch._foreach_add(d, list(weights), alpha=self.weight_decay))
            moved = list(torch._foreach_add(torch._foreach_mul(list(velocity), self.momentum), d))
            direction = list(torch._foreach_add(d, moved, alpha=self.momentum)) if self.nesterov else moved
            updated = list(torch._foreach_add(list(weights), direction, alpha=-lr))
        return Updated([w.requires_grad_() for w in updated], moved)

    def step_adjoint(self, adjoint: Tensors, velocity_adjoint: Tensors, lr: float) -> tuple[Tensors, Tensors]:
        """What d(outer loss)/d(w', m') means for d and m'.

        Args:
            adjoint: derivative with respect to the updated weights w'.
            velocity_adjoint: derivative with respect to m', by way of later updates.
            lr: step size of this update.

        Returns:
            The derivatives with respect to d (and so to the gradient g), and with respect to m'. The adjoint of the
            velocity before the update is momentum times the latter.
        """
        if not self.nesterov:
            through = list(torch._foreach_add(velocity_adjoint, adjoint, alpha=-lr))
            return through, through
        of_velocity = list(torch._foreach_add(velocity_adjoint, adjoint, alpha=-lr * self.momentum))
        return list(torch._foreach_add(of_velocity, adjoint, alpha=-lr)), of_velocity


@dataclass(frozen=True)
class Updated:
    """Weights and velocity after an update."""

    weights: Tensors
    velocity: Tensors


def step_size_factor(schedule: str, progress: float) -> float:
    """The step size over its first value.

    Args:
        schedule: `constant`; `cosine`, down to zero (Loshchilov and Hutter 2017, without restarts); `step`, times 0.2
            at 30, 60 and 80 % (as DABO trains on CIFAR).
        progress: part of all updates that is done, in [0, 1).
    """
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "step":
        return float(0.2 ** sum(progress >= mark for mark in (0.3, 0.6, 0.8)))
    return 1.0
