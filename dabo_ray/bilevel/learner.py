"""What all ways to learn an augmenter share: when it is updated, its optimiser, its state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.bilevel.collectives import Collective
from dabo_ray.bilevel.evidence import Evidence
from dabo_ray.bilevel.hypergradient import InnerProblem, InnerStep, Loss
from dabo_ray.bilevel.inner import Tensors, global_norm

MakeOptimizer = Callable[[Augmenter], torch.optim.Optimizer]


class Learner(ABC):
    """Learns an augmenter while the classifier is trained.

    Args:
        augmenter: changed in place at every update.
        inner_steps: classifier updates between two augmenter updates (M), >= 1.
        truncation: latest classifier updates that are kept (K), >= 0.
        make_optimizer: from the augmenter to the optimiser of its weights.
        step_factor: the optimiser's step size over its first one, by the number of updates done.
        collective: sums over the workers.
    """

    def __init__(
        self,
        augmenter: Augmenter,
        *,
        inner_steps: int,
        truncation: int,
        make_optimizer: MakeOptimizer,
        step_factor: Callable[[int], float],
        collective: Collective,
    ) -> None:
        self.augmenter = augmenter
        self.inner_steps = inner_steps
        self.collective = collective
        self.step_factor = step_factor
        self.optimizer = make_optimizer(augmenter)
        self._first_step_sizes = [group["lr"] for group in self.optimizer.param_groups]
        self._evidence = Evidence(augmenter)
        self.window: deque[InnerStep] = deque(maxlen=truncation)
        self.updates = 0
        self.theta = self._theta_now()

    def is_due_after(self, step_number: int) -> bool:
        """Whether the augmenter is updated right after this classifier update, counted from 0."""
        return (step_number + 1) % self.inner_steps == 0

    @abstractmethod
    def inner_gradient(self, problem: InnerProblem, step: InnerStep, loss: Loss) -> tuple[Tensor, Tensors, Any]:
        """This worker's part of the inner loss and of its gradient at a step after which an update is due.

        Args:
            problem: the inner problem.
            step: the classifier update in hand.
            loss: of the real pass, which moves running statistics.

        Returns:
            Both without a graph; and what `update` will want to have of this pass.
        """

    @abstractmethod
    def update(self, problem: InnerProblem, weights: Tensors, latest: Any) -> dict[str, Tensor]:
        """One update of the augmenter.

        Args:
            problem: the inner problem.
            weights: after the latest classifier update.
            latest: what `inner_gradient` left of it.

        Returns:
            Name -> scalar on the device, for the records.
        """

    def descend(self, grads: Sequence[Tensor]) -> Tensor:
        """A step of the optimiser along gradients summed over the workers; their norm.

        Where it is not finite the weights stay as they are, without waiting for the device.
        """
        norm = global_norm(grads)
        for weight, grad in zip(self.augmenter.parameters(), grads, strict=True):
            weight.grad = grad
        self._evidence.add(grads)
        for group, first in zip(self.optimizer.param_groups, self._first_step_sizes, strict=True):
            group["lr"] = first * self.step_factor(self.updates)
        self.optimizer.step()
        with torch.no_grad():
            for weight, before in zip(self.augmenter.parameters(), self.theta, strict=True):
                weight.copy_(torch.where(norm.isfinite(), weight, before))
        self.updates += 1
        self.theta = self._theta_now()
        return norm

    def signal_to_noise(self) -> dict[str, float]:
        """Of the gradients since the last call, see `Evidence`; once per epoch."""
        return self._evidence.take()

    def _theta_now(self) -> Tensors:
        """A copy: earlier steps of the window keep the weights that they were taken with."""
        return [weight.detach().clone().requires_grad_() for weight in self.augmenter.parameters()]

    def state_dict(self) -> dict[str, Any]:
        """All that the next update depends on.

        Of the window, only the steps that it will still reach, and of a step only what does not follow from its number:
        images and noise differ from worker to worker, and a state is that of all of them.
        """
        assert self.window.maxlen is not None
        reached = list(self.window)[-self.window.maxlen + 1 :] if self.window.maxlen > 1 else []
        return {
            "augmenter": self.augmenter.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
            "window": [
                {name: [part.detach() for part in getattr(step, name)] for name in ("weights", "theta", "grads")}
                for step in reached
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from `state_dict`, with an empty window that the caller fills again."""
        self.augmenter.load_state_dict(state["augmenter"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates = state["updates"]
        self.theta = self._theta_now()
        self.window.clear()
