"""The classifier's update as a function, and what flows back through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Tensors = list[Tensor]

CLIP_EPS = 1e-6
"""What torch adds to a norm before it divides by it."""


@dataclass(frozen=True, kw_only=True)
class Sgd:
    """Stochastic gradient descent, equal to torch.optim.SGD.

    With gradient g, weights w and velocity m:

        d = g + weight_decay * w;  m' = momentum * m + d;  w' = w - lr * m'                      (plain)
                                                           w' = w - lr * (d + momentum * m')     (nesterov)

    A velocity of zeros before the first update gives torch's first update, which starts with m' = d. With a largest
    norm c, f g takes the place of g, as in torch.nn.utils.clip_grad_norm_: f = min(1, c / (|g| + 1e-6)).

    With `hold_length` the derivatives of an update take the length of f g as given: they see where it points and not
    how far it goes. Updates themselves are the same.
    """

    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    clip_norm: float | None = None
    """Largest norm of the gradient of all weights together; None: any."""

    hold_length: bool = False

    @property
    def derives_by_gradient(self) -> bool:
        """Whether the derivatives of an update depend on its gradient."""
        return self.clip_norm is not None or self.hold_length

    def step(
        self, weights: Sequence[Tensor], velocity: Sequence[Tensor], grads: Sequence[Tensor], lr: float
    ) -> Updated:
        """New weights and velocity; the given tensors stay as they are, the new weights are leaves."""
        with torch.no_grad():
            d = list(grads) if self.clip_norm is None else self.scaled(grads)
            if self.weight_decay:
                d = list(torch._foreach_add(d, list(weights), alpha=self.weight_decay))
            moved = list(torch._foreach_mul(list(velocity), self.momentum))
            # In place where a tensor is of this function's making: a network's worth of memory each.
            torch._foreach_add_(moved, d)
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
            The derivatives with respect to d, and with respect to m'. The adjoint of the
            velocity before the update is momentum times the latter.
        """
        if not self.nesterov:
            through = list(torch._foreach_add(velocity_adjoint, adjoint, alpha=-lr))
            return through, through
        of_velocity = list(torch._foreach_add(velocity_adjoint, adjoint, alpha=-lr * self.momentum))
        return list(torch._foreach_add(of_velocity, adjoint, alpha=-lr)), of_velocity

    def scaled(self, grads: Sequence[Tensor]) -> Tensors:
        """The gradient f g that takes the place of g; differentiable."""
        norm = global_norm(grads)
        factor = self._factor(norm)
        if self.hold_length:
            factor = (factor * norm).detach() / norm
        return [factor * grad for grad in grads]

    def scaled_adjoint(self, grads: Sequence[Tensor], through: Tensors) -> Tensors:
        """From u, the derivative with respect to f g, to the one with respect to g.

        It is f u, and where f < 1 also - f / ((|g| + 1e-6) |g|) <u, g> g. With the length held it is f times the part
        of u that is orthogonal to g.
        """
        norm = global_norm(grads)
        factor = self._factor(norm)
        along = torch.stack([torch.sum(u * grad) for u, grad in zip(through, grads, strict=True)]).sum()
        if self.hold_length:
            back = torch.where(norm > 0, factor * along / norm.square(), 0.0)
        else:
            back = torch.where(factor < 1, factor * along / ((norm + CLIP_EPS) * norm), 0.0)
        return [factor * u - back * grad for u, grad in zip(through, grads, strict=True)]

    def _factor(self, norm: Tensor) -> Tensor:
        if self.clip_norm is None:
            return torch.ones_like(norm)
        factor: Tensor = self.clip_norm / (norm + CLIP_EPS)
        return factor.clamp(max=1)


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all tensors as one vector."""
    total: Tensor = torch.stack(torch._foreach_norm(list(tensors))).norm()
    return total


@dataclass(frozen=True)
class Updated:
    """Weights and velocity after an update."""

    weights: Tensors
    velocity: Tensors
