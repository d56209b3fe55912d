"""One step of bilevel training: an SGD update of the classifier and, when it is due, one of its augmenter."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.functional import to_unit
from dabo_ray.bilevel.estimator import Estimator
from dabo_ray.bilevel.finite import FiniteGuard
from dabo_ray.bilevel.hypergradient import (
    Augment,
    Engine,
    InnerGradient,
    InnerProblem,
    InnerStep,
    Loss,
    adjoint_hypergradient,
    inner_gradient,
    plain_gradient,
)
from dabo_ray.bilevel.learner import Learner, UpdateAugmenter
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.sgd import Tensors, Updated, global_norm
from dabo_ray.data.loader import Batch
from dabo_ray.workers import Workers


class Updates:
    """The updates of a training, in the order of Mounsaveng et al. 2021, algorithm 1.

    Args:
        objective: the classifier and its loss; its running statistics move with every update.
        augment: makes the images that the classifier sees.
        learner: of the augmenter; None: the augmentation is not learned.
        workers: that share the batches.
        device: of the classifier.
    """

    def __init__(
        self,
        objective: Objective,
        augment: Augment,
        learner: Learner | None,
        *,
        workers: Workers,
        device: torch.device,
    ) -> None:
        self.objective = objective
        self.problem = InnerProblem(augment, objective.loss)
        self.learner = learner
        self.workers = workers
        self.guard = FiniteGuard(device)

    def make(self, number: int, step: InnerStep, velocity: Tensors) -> tuple[Updated, dict[str, Tensor]]:
        """One update of the classifier, and one of the augmenter after every `inner_steps` of them.

        Args:
            number: of the update, from 0.
            step: what it is computed from.
            velocity: of SGD, before it.

        Returns:
            Weights and velocity after it, and what to record: name -> scalar on the device.

        Raises:
            Diverged: on the CPU, where a loss or a gradient is not finite; elsewhere the guard remembers it.
        """
        self.guard.update = number
        learner = self.learner if self.learner is not None and self.learner.is_due_after(number) else None
        # Inner problem: one SGD step on augmented training images.
        if learner is None:
            loss, grads = plain_gradient(self.problem, step, self.objective.moving_loss)
        else:
            loss, grads, update_augmenter = learner.inner_gradient(self.problem, step, self.objective.moving_loss)
        loss, *grads = self.workers.sum([loss, *grads])
        self.guard.check(loss, global_norm(grads))
        updated = self._kept(step.sgd.step(step.weights, velocity, grads), step.weights, velocity)
        self.objective.commit_statistics(self.guard)
        if self.learner is not None:
            self.learner.window.append(replace(step, grads=grads) if step.sgd.derives_by_gradient else step)
        if learner is None:
            return updated, {"train_loss": loss}
        # Outer problem: how should the augmenter change for the updated weights to do better?
        return updated, {"train_loss": loss, **update_augmenter(updated.weights, self.guard)}

    def _kept(self, new: Updated, weights: Tensors, velocity: Tensors) -> Updated:
        kept = [weight.requires_grad_() for weight in self.guard.kept(new.weights, weights)]
        return Updated(kept, self.guard.kept(new.velocity, velocity))


class OuterBatches(Protocol):
    """Outer images for each update of the augmenter, by its number from 0."""

    def __getitem__(self, number: int, /) -> Batch:
        """This worker's shard of the images of an update."""


class OuterLossLearner(Learner):
    """Learns the augmenter from the loss on images that the classifier is not trained on (the outer problem).

    Args:
        augmenter: changed in place at every update.
        batches: outer images.
        engine: computes the hypergradient.
        estimator: from a classifier update to what stands for it in the hypergradient; None: itself.
        options: see `Learner`; `truncation` (K), >= 1, is how many updates the hypergradient flows through.
    """

    def __init__(
        self,
        augmenter: Augmenter,
        batches: OuterBatches,
        *,
        engine: Engine = adjoint_hypergradient,
        estimator: Estimator | None = None,
        **options: Any,
    ) -> None:
        super().__init__(augmenter, **options)
        self.batches = batches
        self.engine = engine
        self.estimator = estimator

    def inner_gradient(
        self, problem: InnerProblem, step: InnerStep, loss: Loss
    ) -> tuple[Tensor, Tensors, UpdateAugmenter]:
        """The pass that the hypergradient goes through; it needs no graph where other images stand for its own."""
        if self.estimator is not None:
            return *plain_gradient(problem, step, loss), partial(self._update, problem, None)
        # The window holds this step too by the time of the update.
        is_oldest = not self.window or self.window.maxlen == 1
        value, latest = inner_gradient(problem, step, loss, in_weights=not is_oldest)
        return value, [grad.detach() for grad in latest.grads], partial(self._update, problem, latest)

    def _update(
        self, problem: InnerProblem, latest: InnerGradient | None, weights: Tensors, guard: FiniteGuard
    ) -> dict[str, Tensor]:
        """Outer loss at the updated weights on plain outer images, and the norm of the hypergradient descended."""
        batch = self.batches[self.updates]
        images = batch.images if batch.images.is_floating_point() else to_unit(batch.images)
        loss = problem.loss(weights, images, batch.labels, batch.size, None)
        loss, *outer_grad = self.workers.sum([loss.detach(), *torch.autograd.grad(loss, weights)])
        guard.check(loss)
        grads = self.engine(problem, list(self.window), outer_grad, self.workers, latest, self.estimator)
        return {"outer_loss": loss, "hypergradient_norm": self.descend(grads, guard)}
