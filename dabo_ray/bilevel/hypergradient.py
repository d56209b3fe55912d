"""Hypergradient: the derivative of the outer loss with respect to the augmenter, through the latest SGD updates.

Notation: w classifier weights, theta augmenter weights, x training images, z noise, a = augment(theta, x, z),
L inner loss, g = dL/dw, v = d(outer loss)/dw at the updated weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from dabo_ray.bilevel.double_backward.network import differentiated_twice
from dabo_ray.bilevel.dropout import Masks
from dabo_ray.bilevel.sgd import Sgd, Tensors
from dabo_ray.workers import Workers


@dataclass(frozen=True)
class InnerStep:
    """What a classifier update was computed from, so that it can be differentiated later."""

    weights: Tensors
    """w_t, leaves that require a gradient."""

    theta: Tensors
    """The augmenter as it was, leaves that require a gradient; empty where none is learned."""

    images: Tensor
    """(B, C, H, W) in [0, 1], as a learned augmenter is given them, or as the classifier sees them without one."""

    labels: Tensor
    """(B,) classes, (B, num_classes) their shares where images are mixed, or (B, H, W) masks."""

    params: tuple[Tensor, ...]
    """Random numbers of the augmenter and what else its distribution depends on, one row per image."""

    size: int
    """Images of the whole batch, over all workers."""

    sgd: Sgd
    """The update rule, with its learning rates, as it was."""

    masks: Masks | None = None
    """Of dropout; None: the classifier has none."""

    grads: Tensors = field(default_factory=list)
    """g before it was clipped, over all workers; only where `Sgd.derives_by_gradient`, empty otherwise."""


Augment = Callable[[Tensors, Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, Tensor]]
"""(theta, images, labels, params) -> augmented images, and labels, which only masks among them are moved with; both as
they are where no augmenter is learned."""

Loss = Callable[[Tensors, Tensor, Tensor, int, Masks | None], Tensor]
"""(weights, augmented images, labels, size, masks of dropout) -> this worker's part of the mean loss, a scalar."""


@dataclass(frozen=True)
class InnerProblem:
    """The two functions that make an inner loss."""

    augment: Augment
    loss: Loss
    """Called again for an earlier step it must give the same value and leave no trace (running statistics)."""


@dataclass(frozen=True)
class InnerGradient:
    """g with the graph that leads from it to what was augmented and, through that, to theta."""

    grads: Tensors
    augmented: Tensors
    """The augmented images, and masks if there are some, as the loss saw them: leaves, so that only what lies between
    them and g is repeated."""

    produced: Tensors
    """The same values with the graph to theta."""


def inner_gradient(
    problem: InnerProblem,
    step: InnerStep,
    loss: Loss | None = None,
    *,
    in_weights: bool,
) -> tuple[Tensor, InnerGradient]:
    """Inner loss and gradient of a step, differentiable once more.

    Args:
        problem: the inner problem.
        step: which update.
        loss: in place of the problem's loss, for the real pass that moves running statistics.
        in_weights: whether the gradient's derivative with respect to the weights is wanted too.
    """
    seen, augmented, produced = augmented_apart(problem, step)
    with differentiated_twice(in_weights=in_weights):
        value = (loss or problem.loss)(step.weights, *seen, step.size, step.masks)
    grads = torch.autograd.grad(value, step.weights, create_graph=True)
    return value.detach(), InnerGradient(list(grads), augmented, produced)


def augmented_apart(problem: InnerProblem, step: InnerStep) -> tuple[tuple[Tensor, Tensor], Tensors, Tensors]:
    """Images and labels of a step for the loss, apart from the graph that leads from them to theta.

    Returns:
        Both of them; those which are leaves that require a gradient, since they depend on theta; and the same values
        with the graph.
    """
    images, labels = problem.augment(step.theta, step.images, step.labels, step.params)
    produced = [part for part in (images, labels) if part.requires_grad]
    seen = tuple(part.detach().requires_grad_(part.requires_grad) for part in (images, labels))
    return (seen[0], seen[1]), [part for part in seen if part.requires_grad], produced


def plain_gradient(problem: InnerProblem, step: InnerStep, loss: Loss | None = None) -> tuple[Tensor, Tensors]:
    """As `inner_gradient`, without a graph."""
    with torch.no_grad():
        images, labels = problem.augment(step.theta, step.images, step.labels, step.params)
    value = (loss or problem.loss)(step.weights, images, labels, step.size, step.masks)
    return value.detach(), list(torch.autograd.grad(value, step.weights))


class Engine(Protocol):
    """A way to compute d(outer loss)/d(theta) through the updates of a window."""

    def __call__(
        self,
        problem: InnerProblem,
        window: Sequence[InnerStep],
        outer_grad: Sequence[Tensor],
        workers: Workers,
        latest: InnerGradient | None = None,
        estimate: Callable[[InnerStep], InnerStep] | None = None,
    ) -> Tensors:
        """Args and result as of `adjoint_hypergradient`."""


def adjoint_hypergradient(
    problem: InnerProblem,
    window: Sequence[InnerStep],
    outer_grad: Sequence[Tensor],
    workers: Workers,
    latest: InnerGradient | None = None,
    estimate: Callable[[InnerStep], InnerStep] | None = None,
) -> Tensors:
    """d(outer loss)/d(theta) through the updates of a window, by the adjoint recursion (reverse mode over updates).

    For t from the last update to the first of the window, with lambda = v and nu = 0 at the start:

        u = adjoint of g_t                   (`Sgd.step_adjoint`, `Sgd.scaled_adjoint`; plain: nu - lr lambda)
        H u, q = d<g_t(w, a), u>/dw, d<g_t(w, a), u>/da            one product: neither matrix is formed
        d(theta) += q da_t/d(theta)                                theta, noise and images as they were
        lambda, nu = adjoints of w_t, m_t    (`Sgd.before`; plain: lambda + H u + weight_decay u, momentum * nu')

    No graph is kept across updates: memory is the window's weights and one update's activations.

    Args:
        problem: the inner problem.
        window: the latest updates, oldest first, at least one.
        outer_grad: v, already summed over the workers.
        workers: that share the batches. The products that meet the recursion again are summed at every update: a
            recursion over one worker's own products would miss how workers act on each other through the weights.
        latest: the gradient of the last update if its graph is still at hand; spares that update's passes.
        estimate: from an update to what stands for it in the products, see `Estimator`; None: itself.

    Returns:
        One tensor per weight of the augmenter, summed over the workers.

    Reference: Mounsaveng et al. 2021, eq. 5, for one update; Maclaurin et al. 2015, algorithm 2, for the recursion.
    """
    adjoint = [v.detach() for v in outer_grad]
    velocity_adjoint: Tensors | None = None
    total: Tensors = []
    for age, step in enumerate(reversed(window)):
        # The oldest update needs no H u, which spares the weights' second derivatives.
        is_oldest = age == len(window) - 1
        if age == 0 and latest is not None:
            gradient = latest
        else:
            stand_in = step if estimate is None else estimate(step)
            gradient = inner_gradient(problem, stand_in, in_weights=not is_oldest)[1]
        of_d, of_velocity = step.sgd.step_adjoint(adjoint, velocity_adjoint)
        u = step.sgd.scaled_adjoint(step.grads, of_d) if step.sgd.derives_by_gradient else of_d
        wanted = gradient.augmented if is_oldest else [*gradient.augmented, *step.weights]
        products = torch.autograd.grad(gradient.grads, wanted, u)
        of_augmented, weight_products = products[: len(gradient.augmented)], products[len(gradient.augmented) :]
        of_theta = list(torch.autograd.grad(gradient.produced, step.theta, of_augmented))
        total = list(torch._foreach_add(total, of_theta)) if total else of_theta
        if is_oldest:
            break
        adjoint = list(torch._foreach_add(adjoint, workers.sum(weight_products)))
        adjoint, velocity_adjoint = step.sgd.before(adjoint, of_d, of_velocity)
    return workers.sum(total)
