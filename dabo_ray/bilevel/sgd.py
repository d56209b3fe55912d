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

    lr: float | Tensor = 1e-3
    """A scalar on the device where it must be changed without a new rule, as in a CUDA graph."""

    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    num_weights: int | None = None
    """Tensors in the group; None: all of them."""


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

    def with_lr(self, lr: float | Tensor) -> Sgd:
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

    @torch.no_grad()
    def step(self, weights: Tensors, velocity: Tensors, grads: Sequence[Tensor], skipped: Tensor | None = None) -> None:
        """Moves weights and velocity in place.

        Args:
            weights: w.
            velocity: m.
            grads: g, left as it is.
            skipped: a float32 scalar on the device; where it is 1 nothing moves.
        """
        if self.clip_norm is not None:
            grads = self.scaled(grads)
        for group, (w, m, d) in self.parts(weights, velocity, grads):
            if w[0].is_cuda:
                _fused_step(group, w, m, d, skipped)
                continue
            before = None if skipped is None else copied([*w, *m])
            if group.weight_decay:
                d = list(torch._foreach_add(d, w, alpha=group.weight_decay))
            torch._foreach_mul_(m, group.momentum)
            torch._foreach_add_(m, d)
            direction = list(torch._foreach_add(d, m, alpha=group.momentum)) if group.nesterov else m
            torch._foreach_add_(w, direction, alpha=-float(group.lr))
            if before is not None and skipped is not None:
                for tensor, old in zip([*w, *m], before, strict=True):
                    tensor.copy_(torch.where(skipped > 0, old, tensor))

    def step_adjoint(self, adjoint: Tensors, velocity_adjoint: Tensors | None) -> tuple[Tensors, Tensors]:
        """From lambda and nu, the derivatives of the outer loss with respect to w' and m', to those for d and m'.

        Args:
            adjoint: lambda.
            velocity_adjoint: nu, by way of later updates; None: zero, as there is none.

        Returns:
            The derivatives with respect to d, and with respect to m' by way of this update too. Those with respect to
            what was before the update follow by `before`.
        """
        of_d: Tensors = []
        of_velocity: Tensors = []
        for group, (lam, *nu) in self.parts(adjoint, *([] if velocity_adjoint is None else [velocity_adjoint])):
            by_velocity = -group.lr * (group.momentum if group.nesterov else 1)
            through = _plus(nu[0], lam, by_velocity) if nu else list(torch._foreach_mul(lam, by_velocity))
            of_velocity.extend(through)
            of_d.extend(_plus(through, lam, -group.lr) if group.nesterov else through)
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

    def scaled_adjoint(self, grads: Tensors, of_scaled: Tensors) -> Tensors:
        """From u, the derivative with respect to f g, to the one with respect to g.

        It is f u, and where f < 1 also - f / ((|g| + 1e-6) |g|) <u, g> g. Of the direction alone it is f times the part
        of u that is orthogonal to g.
        """
        norm = global_norm(grads)
        factor = self._factor(norm)
        along = _sum(torch._foreach_mul(of_scaled, grads))
        if self.differentiate == "direction":
            back = torch.where(norm > 0, factor * along / norm.square(), 0.0)
        else:
            back = torch.where(factor < 1, factor * along / ((norm + CLIP_EPS) * norm), 0.0)
        return list(torch._foreach_sub(torch._foreach_mul(of_scaled, factor), torch._foreach_mul(grads, back)))

    def _factor(self, norm: Tensor) -> Tensor:
        if self.clip_norm is None:
            return torch.ones_like(norm)
        factor: Tensor = self.clip_norm / (norm + CLIP_EPS)
        return factor.clamp(max=1)


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all tensors as one vector."""
    total: Tensor = torch.stack(torch._foreach_norm(list(tensors))).norm()
    return total


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    """Of all numbers."""
    if tensors[0].is_cuda:
        # A kernel for each tensor takes longer than a copy of all.
        return torch.cat([tensor.reshape(-1) for tensor in tensors]).sum()
    return torch.stack([tensor.sum() for tensor in tensors]).sum()


def _plus(tensors: Tensors, others: Tensors, factor: float | Tensor) -> Tensors:
    if isinstance(factor, Tensor):
        return list(torch._foreach_add(tensors, torch._foreach_mul(others, factor)))
    return list(torch._foreach_add(tensors, others, alpha=factor))


def copied(tensors: Sequence[Tensor]) -> Tensors:
    """Copies without a graph."""
    copies = [torch.empty_like(tensor, requires_grad=False) for tensor in tensors]
    copy_each(copies, tensors)
    return copies


@torch.no_grad()
def copy_each(to: Sequence[Tensor], tensors: Sequence[Tensor]) -> None:
    """Copies tensors into others; on a GPU those of one type by one kernel."""
    for dtype in {tensor.dtype for tensor in to}:
        pairs = [pair for pair in zip(to, tensors, strict=True) if pair[0].dtype == dtype]
        torch._foreach_copy_([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def laid_out_as(tensors: Sequence[Tensor], others: Sequence[Tensor]) -> Tensors:
    """The tensors in the strides of others of their shapes, which kernels for lists of tensors need; values stay."""
    return [
        tensor if tensor.stride() == other.stride() else torch.empty_like(other).copy_(tensor)
        for tensor, other in zip(tensors, others, strict=True)
    ]


def _fused_step(group: SgdGroup, weights: Tensors, velocity: Tensors, grads: Tensors, skipped: Tensor | None) -> None:
    """One pass over memory: the kernel of torch.optim.SGD(fused=True)."""
    torch._fused_sgd_(
        weights,
        laid_out_as(grads, weights),
        velocity,
        weight_decay=group.weight_decay,
        momentum=group.momentum,
        lr=group.lr,
        dampening=0.0,
        nesterov=group.nesterov,
        maximize=False,
        is_first_step=False,
        found_inf=skipped,
    )
