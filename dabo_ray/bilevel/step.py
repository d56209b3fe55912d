"""One step of bilevel training: an SGD update of the classifier and, when it is due, one of its augmenter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
from dabo_ray.bilevel.learner import AugmenterGradient, Learner
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.sgd import Tensors, copied, global_norm, laid_out_as
from dabo_ray.data.loader import Batch
from dabo_ray.workers import Workers


@dataclass(frozen=True)
class Arguments:
    """What an update is computed from."""

    weights: Tensors
    """Of the classifier; moved in place."""

    velocity: Tensors
    """Of SGD; moved in place."""

    step: InnerStep
    """With the weights themselves, or with copies where they are needed after they have moved."""

    window: list[InnerStep] = field(default_factory=list)
    """Updates before it that the hypergradient flows through too, oldest first."""

    outer: Batch | None = None
    """Outer images, where the learner needs them."""

    is_due: bool = False
    """Whether the augmenter's gradient is wanted."""


@dataclass(frozen=True)
class Computed:
    """What the passes of an update give."""

    found: dict[str, Tensor]
    """What to record: name -> scalar on the device."""

    grads: Tensors
    """Of the inner loss with respect to the weights, over all workers."""

    of_theta: Tensors
    """What the augmenter descends; empty where it is not due."""


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

    def make(self, number: int, step: InnerStep, velocity: Tensors) -> dict[str, Tensor]:
        """One update of the classifier, and one of the augmenter after every `inner_steps` of them.

        Args:
            number: of the update, from 0.
            step: what it is computed from; its weights are moved in place.
            velocity: of SGD; moved in place.

        Returns:
            What to record: name -> scalar on the device.

        Raises:
            Diverged: on the CPU, where a loss or a gradient is not finite; elsewhere the guard remembers it.
        """
        self.guard.begin(number)
        weights, learner = step.weights, self.learner
        if learner is None:
            return self._compute(Arguments(weights, velocity, step)).found
        is_due, is_kept = learner.is_due_after(number), learner.is_kept_after(number)
        if is_due or is_kept:
            step = replace(step, weights=[weight.requires_grad_() for weight in copied(weights)])
        outer = learner.outer_batch() if is_due else None
        arguments = Arguments(weights, velocity, step, list(learner.window) if is_due else [], outer, is_due=is_due)
        computed = self._compute(arguments)
        if learner.readiness is not None:
            learner.see(computed.found["train_loss"] - self._least_loss(step))
        if is_kept and step.sgd.derives_by_gradient:
            step = replace(step, grads=copied(computed.grads))
        learner.keep(step if is_kept else None)
        if not is_due:
            return computed.found
        return {**computed.found, **learner.descend(computed.of_theta, self.guard)}

    def _least_loss(self, step: InnerStep) -> Tensor:
        (least,) = self.workers.sum([self.objective.least_loss(step.labels, step.size)])
        return least

    def _compute(self, given: Arguments) -> Computed:
        """All that an update is, from tensors on the device to such tensors."""
        step, weights = given.step, given.weights
        learner = self.learner if given.is_due else None
        # Inner problem: one SGD step on augmented training images.
        if learner is None:
            loss, grads = plain_gradient(self.problem, step, self.objective.moving_loss)
        else:
            found = learner.inner_gradient(self.problem, step, given.window, self.objective.moving_loss)
            loss, grads, augmenter_gradient = found
        loss, *grads = self.workers.sum([loss, *laid_out_as(grads, weights)])
        self.guard.check(loss, global_norm(grads))
        step.sgd.step(weights, given.velocity, grads, self.guard.skipped)
        self.objective.commit_statistics(self.guard)
        if learner is None:
            return Computed({"train_loss": loss}, grads, [])
        # Outer problem: how should the augmenter change for the updated weights to do better?
        losses, of_theta = augmenter_gradient(replace(step, grads=grads), weights, given.outer, self.guard)
        return Computed({"train_loss": loss, **losses}, grads, of_theta)


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

    NORM = "hypergradient_norm"

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

    def outer_batch(self) -> Batch:
        """Plain outer images in [0, 1] for the next update."""
        batch = self.batches[self.updates]
        return batch if batch.images.is_floating_point() else replace(batch, images=to_unit(batch.images))

    def inner_gradient(
        self, problem: InnerProblem, step: InnerStep, window: Sequence[InnerStep], loss: Loss
    ) -> tuple[Tensor, Tensors, AugmenterGradient]:
        """The pass that the hypergradient goes through; it needs no graph where other images stand for its own."""
        if self.estimator is not None:
            return *plain_gradient(problem, step, loss), partial(self._hypergradient, problem, window, None)
        value, latest = inner_gradient(problem, step, loss, in_weights=len(window) > 0)
        return value, [grad.detach() for grad in latest.grads], partial(self._hypergradient, problem, window, latest)

    def _hypergradient(
        self,
        problem: InnerProblem,
        window: Sequence[InnerStep],
        latest: InnerGradient | None,
        step: InnerStep,
        weights: Tensors,
        batch: Batch | None,
        guard: FiniteGuard,
    ) -> tuple[dict[str, Tensor], Tensors]:
        """The outer loss at the updated weights, and its derivative with respect to the augmenter."""
        assert batch is not None
        loss = problem.loss(weights, batch.images, batch.labels, batch.size, None)
        of_weights = laid_out_as(torch.autograd.grad(loss, weights), weights)
        loss, *outer_grad = self.workers.sum([loss.detach(), *of_weights])
        guard.check(loss)
        grads = self.engine(problem, [*window, step], outer_grad, self.workers, latest, self.estimator)
        return {"outer_loss": loss}, grads
