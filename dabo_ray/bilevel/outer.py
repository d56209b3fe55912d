"""The outer problem: how should the augmenter change for the updated classifier to do better?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.functional import to_unit
from dabo_ray.bilevel.collectives import Collective
from dabo_ray.bilevel.estimator import Estimator
from dabo_ray.bilevel.hypergradient import (
    Hypergradient,
    InnerGradient,
    InnerProblem,
    InnerStep,
    Loss,
    adjoint_hypergradient,
    inner_gradient,
    plain_gradient,
)
from dabo_ray.bilevel.inner import Sgd, Tensors
from dabo_ray.bilevel.learner import Learner, MakeOptimizer
from dabo_ray.data.loader import Batches


class Outer(Learner):
    """Learns the augmenter on images that the classifier is not trained on.

    Args:
        augmenter: changed in place at every update.
        batches: outer images.
        inner_steps: classifier updates between two augmenter updates (M), >= 1.
        truncation: latest classifier updates that the hypergradient flows through (K), >= 1.
        sgd: the classifier's update rule.
        make_optimizer: from the augmenter to the optimiser of its weights.
        step_factor: the optimiser's step size over its first one, by the number of updates done.
        collective: sums over the workers.
        hypergradient: how it is computed.
        estimator: which images stand for an update in it; None: its own.
    """

    def __init__(
        self,
        augmenter: Augmenter,
        batches: Batches,
        *,
        inner_steps: int,
        truncation: int,
        sgd: Sgd,
        make_optimizer: MakeOptimizer,
        step_factor: Callable[[int], float] = lambda update: 1.0,
        collective: Collective,
        hypergradient: Hypergradient = adjoint_hypergradient,
        estimator: Estimator | None = None,
    ) -> None:
        super().__init__(
            augmenter,
            inner_steps=inner_steps,
            truncation=truncation,
            make_optimizer=make_optimizer,
            step_factor=step_factor,
            collective=collective,
        )
        self.batches = batches
        self.sgd = sgd
        self.hypergradient = hypergradient
        self.estimator = estimator

    def inner_gradient(
        self, problem: InnerProblem, step: InnerStep, loss: Loss
    ) -> tuple[Tensor, Tensors, InnerGradient | None]:
        """The pass that the hypergradient goes through; it needs no graph where other images stand for its own."""
        if self.estimator is not None:
            return *plain_gradient(problem, step, loss), None
        # The window holds this step too by the time of the update.
        is_oldest = not self.window or self.window.maxlen == 1
        value, latest = inner_gradient(problem, step, loss, in_weights=not is_oldest)
        return value, [grad.detach() for grad in latest.grads], latest

    def update(self, problem: InnerProblem, weights: Tensors, latest: InnerGradient | None) -> dict[str, Tensor]:
        """One update of the augmenter.

        Args:
            problem: the inner problem; its loss at the updated weights on plain outer images is the outer loss.
            weights: after the latest classifier update.
            latest: the gradient of that update, with its graph.

        Returns:
            Outer loss and norm of the hypergradient, scalars on the device.
        """
        batch = self.batches[self.updates]
        loss = problem.loss(weights, to_unit(batch.images), batch.labels, batch.size, None)
        loss, *outer_grad = self.collective.sum([loss.detach(), *torch.autograd.grad(loss, weights)])
        window = list(self.window)
        grads = self.hypergradient(problem, window, outer_grad, self.sgd, self.collective, latest, self.estimator)
        return {"outer_loss": loss, "hypergradient_norm": self.descend(grads)}
