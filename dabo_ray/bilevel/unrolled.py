"""Unrolled hypergradient: double backward through all updates of a window at once; memory grows with the window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from dabo_ray.bilevel.hypergradient import InnerGradient, InnerProblem, InnerStep, inner_gradient
from dabo_ray.bilevel.sgd import Sgd, Tensors
from dabo_ray.workers import Workers


def unrolled_hypergradient(
    problem: InnerProblem,
    window: Sequence[InnerStep],
    outer_grad: Sequence[Tensor],
    workers: Workers,
    latest: InnerGradient | None = None,
    estimate: Callable[[InnerStep], InnerStep] | None = None,
) -> Tensors:
    """As `adjoint_hypergradient`, by one graph over the window; memory grows with the window's activations.

    The graph is made anew from the window. An update is an affine function of the velocity before it, so the window's
    first velocity may be taken as zero: the weights' values are those of the window, only their derivatives are the
    graph's. The latest gradient is of use only for a window of one update, others need it as part of the graph.
    """
    weights = window[0].weights
    velocity: Tensors = [torch.zeros_like(weight) for weight in weights]
    gradients: list[InnerGradient] = []
    for step in window:
        # Values of the window; derivatives of the graph so far.
        weights = [value.detach() + (w - w.detach()) for value, w in zip(step.weights, weights, strict=True)]
        if latest is not None and len(window) == 1:
            gradient = latest
        else:
            stand_in = step if estimate is None else estimate(step)
            shared = list(_Shared.apply(workers, *weights))
            gradient = inner_gradient(problem, replace(stand_in, weights=shared), in_weights=len(window) > 1)[1]
        grads = list(_Summed.apply(workers, *gradient.grads))
        if step.sgd.derives_by_gradient:
            exact = zip(step.grads, grads, strict=True)
            grads = step.sgd.scaled([value + (grad - grad.detach()) for value, grad in exact])
        weights, velocity = _update(step.sgd, weights, velocity, grads)
        gradients.append(gradient)
    leaves = [leaf for gradient in gradients for leaf in gradient.augmented]
    of_leaves = iter(torch.autograd.grad(weights, leaves, list(outer_grad)))
    total = [torch.zeros_like(weight) for weight in window[-1].theta]
    for step, gradient in zip(window, gradients, strict=True):
        of_augmented = [next(of_leaves) for _ in gradient.augmented]
        torch._foreach_add_(total, torch.autograd.grad(gradient.produced, step.theta, of_augmented))
    return workers.sum(total)


def _update(sgd: Sgd, weights: Tensors, velocity: Tensors, grads: Tensors) -> tuple[Tensors, Tensors]:
    """`Sgd.step` of scaled gradients, with its graph."""
    updated: Tensors = []
    moved: Tensors = []
    for group, parts in sgd.parts(weights, velocity, grads):
        for w, m, g in zip(*parts, strict=True):
            d = g + group.weight_decay * w
            m = group.momentum * m + d
            moved.append(m)
            updated.append(w - group.lr * (d + group.momentum * m if group.nesterov else m))
    return updated, moved


class _Summed(Function):
    """A sum over workers that all of them use alike: what flows back to it is the same on each already."""

    @staticmethod
    def forward(ctx: Any, workers: Workers, *parts: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.clone() for part in workers.sum(parts))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return None, *grads


class _Shared(Function):
    """What is the same on all workers, each of which uses it on images of its own: what flows back is summed."""

    @staticmethod
    def forward(ctx: Any, workers: Workers, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.workers = workers
        return tuple(tensor.clone() for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return None, *ctx.workers.sum(grads)
