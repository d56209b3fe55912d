"""SGD: the classifier's update as a function, and its adjoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

Tensors = list[Tensor]
Differentiate = Literal["update", "direction"]

CLIP_EPS = 1e-6
"""What torch adds to a norm before it divides by it."""


@dataclass(frozen=True, kw_only=True)
class SgdGroup:
    """Weights that are updated alike: a parameter group of torch.optim.SGD, whose names and defaults these are."""

    lr: float = 1e-3
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    num_weights: int | None = None
    """Tensors in the group; None: all of them."""


@dataclass(frozen=True)
class Updated:
    """Weights and velocity after an update."""

    weights: Tensors
    velocity: Tensors


@dataclass(frozen=True, kw_only=True)
class Sgd:
    """An update of stochastic gradient descent, equal to one of torch.optim.SGD.

    With gradient g, weights w and velocity m:

        d = g + weight_decay * w;  m' = momentum * m + d;  w' = w - lr * m'                      (plain)
                                                           w' = w - lr * (d + momentum * m')     (nesterov)

    A velocity of zeros before the first update gives torch's first update, which starts with m' = d. With a largest
    norm c, f g takes the place of g, as in torch.nn.utils.clip_grad_norm_: f = min(1, c / (|g| + 1e-6)).
    """

    groups: tuple[SgdGroup, ...]
    """One after the other, they have all weights."""

    clip_norm: float | None = None
    """Largest norm of the gradient of all weights together; None: any."""

    differentiate: Differentiate = "update"
    """What the derivatives of an update see: `update`, all of it; `direction`, where f g points, its length as given.
    Updates themselves are the same."""

    @classmethod
    def of(cls, *, clip_norm: float | None = None, differentiate: Differentiate = "update", **settings: Any) -> Sgd:
        """One group of all weights, with the settings of an `SgdGroup`."""
        return cls(groups=(SgdGroup(**settings),), clip_norm=clip_norm, differentiate=differentiate)

    def with_lr(self, lr: float) -> Sgd:
        """The same with another learning rate."""
        return replace(self, groups=tuple(replace(group, lr=lr) for group in self.groups))

    @property
    def derives_by_gradient(self) -> bool:
        """Whether the derivatives of an update depend on its gradient."""
        return self.clip_norm is not None or self.differentiate == "direction"

    def parts(self, *tensors: Sequence[Tensor]) -> Iterator[tuple[SgdGroup, list[Tensors]]]:
        """Each group with its parts of lists that have one tensor per weight."""
        start = 0
        for group in self.groups:
            stop = len(tensors[0]) if group.num_weights is None else start + group.num_weights
            yield group, [list(each[start:stop]) for each in tensors]
            start = stop

    def step(self, weights: Sequence[Tensor], velocity: Sequence[Tensor], grads: Sequence[Tensor]) -> Updated:
        """New weights and velocity; the given tensors stay as they are, the new weights are leaves."""
        updated = Updated([], [])
        with torch.no_grad():
            if self.clip_norm is not None:
                grads = self.scaled(grads)
            for group, (w, m, d) in self.parts(weights, velocity, grads):
                if group.weight_decay:
                    d = list(torch._foreach_add(d, w, alpha=group.weight_decay))
                m = list(torch._foreach_mul(m, group.momentum))
                # In place where a tensor is of this function's making: a network's worth of memory each.
                torch._foreach_add_(m, d)
                direction = list(torch._foreach_add(d, m, alpha=group.momentum)) if group.nesterov else m
                updated.weights.extend(torch._foreach_add(w, direction, alpha=-group.lr))
                updated.velocity.extend(m)
        for weight in updated.weights:
            weight.requires_grad_()
        return updated

    def step_adjoint(self, adjoint: Tensors, velocity_adjoint: Tensors) -> tuple[Tensors, Tensors]:
        """From lambda and nu, the derivatives of the outer loss with respect to w' and m', to those for d and m'.

        Args:
            adjoint: lambda.
            velocity_adjoint: nu, by way of later updates.

        Returns:
            The derivatives with respect to d, and with respect to m' by way of this update too. Those with respect to
            what was before the update follow by `before`.
        """
        of_d: Tensors = []
        of_velocity: Tensors = []
        for group, (lam, nu) in self.parts(adjoint, velocity_adjoint):
            by_velocity = -group.lr * (group.momentum if group.nesterov else 1)
            through = list(torch._foreach_add(nu, lam, alpha=by_velocity))
            of_velocity.extend(through)
            of_d.extend(torch._foreach_add(through, lam, alpha=-group.lr) if group.nesterov else through)
        return of_d, of_velocity

    def before(self, adjoint: Tensors, of_d: Tensors, of_velocity: Tensors) -> tuple[Tensors, Tensors]:
        """The derivatives with respect to w and m before an update: lambda + weight_decay * of_d, momentum * of_m'."""
        of_weights: Tensors = []
        of_earlier: Tensors = []
        for group, (lam, by_d, by_velocity) in self.parts(adjoint, of_d, of_velocity):
            of_weights.extend(torch._foreach_add(lam, by_d, alpha=group.weight_decay) if group.weight_decay else lam)
            of_earlier.extend(torch._foreach_mul(by_velocity, group.momentum))
        return of_weights, of_earlier

    def scaled(self, grads: Sequence[Tensor]) -> Tensors:
        """The gradient f g that takes the place of g; differentiable."""
        norm = global_norm(grads)
        factor = self._factor(norm)
        if self.differentiate == "direction":
            factor = (factor * norm).detach() / norm
        return [factor * grad for grad in grads]

    def scaled_adjoint(self, grads: Sequence[Tensor], of_scaled: Tensors) -> Tensors:
        """From u, the derivative with respect to f g, to the one with respect to g.

        It is f u, and where f < 1 also - f / ((|g| + 1e-6) |g|) <u, g> g. Of the direction alone it is f times the part
        of u that is orthogonal to g.
        """
        norm = global_norm(grads)
        factor = self._factor(norm)
        along = torch.stack([torch.sum(u * grad) for u, grad in zip(of_scaled, grads, strict=True)]).sum()
        if self.differentiate == "direction":
            back = torch.where(norm > 0, factor * along / norm.square(), 0.0)
        else:
            back = torch.where(factor < 1, factor * along / ((norm + CLIP_EPS) * norm), 0.0)
        return [factor * u - back * grad for u, grad in zip(of_scaled, grads, strict=True)]

    def _factor(self, norm: Tensor) -> Tensor:
        if self.clip_norm is None:
            return torch.ones_like(norm)
        factor: Tensor = self.clip_norm / (norm + CLIP_EPS)
        return factor.clamp(max=1)


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all tensors as one vector."""
    total: Tensor = torch.stack(torch._foreach_norm(list(tensors))).norm()
    return total
