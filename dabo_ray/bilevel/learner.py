"""Learner of an augmenter, whatever it learns from: when it is updated, its optimiser, its state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.bilevel.finite import FiniteGuard
from dabo_ray.bilevel.hypergradient import InnerProblem, InnerStep, Loss
from dabo_ray.bilevel.readiness import Readiness
from dabo_ray.bilevel.sgd import Tensors, global_norm
from dabo_ray.bilevel.signal_to_noise import SignalToNoise
from dabo_ray.data.loader import Batch
from dabo_ray.workers import Workers

AugmenterGradient = Callable[[InnerStep, Tensors, Batch | None, FiniteGuard], tuple[dict[str, Tensor], Tensors]]
"""(the step with its gradient, the weights after it, outer images, guard) -> losses to record, and what to descend."""


class Learner(ABC):
    """Learns an augmenter while the classifier is trained.

    Args:
        augmenter: changed in place at every update.
        inner_steps: classifier updates between two augmenter updates (M), >= 1.
        truncation: latest classifier updates that an update of the augmenter is computed from (K), >= 0.
        optimizer: of the augmenter's weights.
        lr_factor: its learning rate over its first one, by the number of updates done or missed; None: left alone.
        warmup: classifier updates, the first ones, in which the augmenter stays as it is.
        readiness: the augmenter rests (see `Augmenter.rest`) until it is reached; None, or an augmenter that cannot
            rest: it does from the first update on what it does before learning.
        workers: that share the batches.
    """

    NORM: ClassVar[str]
    """What the norm of the gradient that is descended is called in the records."""

    def __init__(
        self,
        augmenter: Augmenter,
        *,
        inner_steps: int,
        truncation: int,
        optimizer: torch.optim.Optimizer,
        lr_factor: Callable[[int], float] | None = None,
        warmup: int = 0,
        readiness: Readiness | None = None,
        workers: Workers = Workers(),
    ) -> None:
        self.augmenter = augmenter
        self.readiness = readiness if readiness is not None and augmenter.rest() else None
        """What the augmenter waits for; None once it is reached."""
        self.inner_steps = inner_steps
        self.warmup = warmup
        self.workers = workers
        self.optimizer = optimizer
        self._lr_factor = lr_factor
        self._first_lrs = [group["lr"] for group in optimizer.param_groups]
        self._signal_to_noise = SignalToNoise(augmenter)
        self.truncation = truncation
        self.window: deque[InnerStep] = deque(maxlen=max(0, truncation - 1))
        """Classifier updates that the next update of the augmenter is computed from beside the one before it."""
        self.updates = 0
        self.rested = 0
        """Classifier updates in which it rested."""
        self.theta = self._theta_now()

    def is_due_after(self, update: int) -> bool:
        """Whether the augmenter is updated right after this classifier update, counted from 0."""
        return self.readiness is None and update >= self.warmup and (update + 1) % self.inner_steps == 0

    def is_kept_after(self, update: int) -> bool:
        """Whether a later update of the augmenter is computed from this classifier update too."""
        if self.readiness is not None:
            return False
        earliest = max(update + 1, self.warmup)
        due = earliest + (-(earliest + 1)) % self.inner_steps
        return due - update < self.truncation

    def see(self, loss: Tensor) -> None:
        """The training loss of an update, over what it could be at least: wakes the augmenter when it is time."""
        if self.readiness is None:
            return
        self.rested += 1
        if self.readiness.is_reached(loss):
            self.readiness = None
            self.augmenter.wake()
            self.theta = self._theta_now()

    @property
    def _missed(self) -> int:
        """Updates that would have been due while the augmenter rested."""
        return max(0, self.rested // self.inner_steps - self.warmup // self.inner_steps)

    def keep(self, step: InnerStep | None) -> None:
        """Takes the classifier update in hand into the window; None: no later update of the augmenter needs it."""
        if step is None:
            self.window.clear()
        else:
            self.window.append(step)

    def outer_batch(self) -> Batch | None:
        """Outer images for the next update; None: it needs none."""
        return None

    @abstractmethod
    def inner_gradient(
        self, problem: InnerProblem, step: InnerStep, window: Sequence[InnerStep], loss: Loss
    ) -> tuple[Tensor, Tensors, AugmenterGradient]:
        """This worker's part of the inner loss and of its gradient at a step after which an update is due.

        Args:
            problem: the inner problem.
            step: the classifier update in hand.
            window: those before it that are needed too, oldest first.
            loss: of the real pass, which moves running statistics.

        Returns:
            Both without a graph; and what computes the augmenter's gradient, which may go on with the graph of this
            pass.
        """

    def descend(self, grads: Sequence[Tensor], guard: FiniteGuard) -> dict[str, Tensor]:
        """An update of the augmenter along gradients summed over the workers; their norm."""
        norm = global_norm(grads)
        guard.check(norm)
        weights = list(self.augmenter.parameters())
        for weight, grad in zip(weights, grads, strict=True):
            weight.grad = grad
        self._signal_to_noise.add(grads)
        if self._lr_factor is not None:
            for group, first in zip(self.optimizer.param_groups, self._first_lrs, strict=True):
                group["lr"] = first * self._lr_factor(self._missed + self.updates)
        self.optimizer.step()
        with torch.no_grad():
            for weight, kept in zip(weights, guard.kept(weights, self.theta), strict=True):
                weight.copy_(kept)
        self.updates += 1
        self.theta = self._theta_now()
        return {self.NORM: norm}

    def signal_to_noise(self) -> dict[str, float]:
        """Of the gradients since the last call, see `SignalToNoise`; once per epoch."""
        return self._signal_to_noise.take()

    def _theta_now(self) -> Tensors:
        """A copy: earlier steps of the window keep the weights that they were taken with."""
        return [weight.detach().clone().requires_grad_() for weight in self.augmenter.parameters()]

    def state_dict(self) -> dict[str, Any]:
        """All that the next update depends on.

        Of a step of the window only what does not follow from its number: images and noise differ from worker to
        worker, and a state is that of all of them.
        """
        return {
            "augmenter": self.augmenter.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
            "rested": self.rested,
            "readiness": None if self.readiness is None else self.readiness.state_dict(),
            "window": [
                {name: [part.detach() for part in getattr(step, name)] for name in ("weights", "theta", "grads")}
                for step in self.window
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from `state_dict`, with an empty window that the caller fills again."""
        self.augmenter.load_state_dict(state["augmenter"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates, self.rested = state["updates"], state["rested"]
        if self.readiness is not None and state["readiness"] is not None:
            self.readiness.load_state_dict(state["readiness"], self.theta[0].device)
        else:
            self.readiness = None
        self.theta = self._theta_now()
        self.window.clear()
