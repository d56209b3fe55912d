"""The outer problem: how should the augmenter change for the updated classifier to do better?"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dabo_ray.augment.learned import Augmenter
from dabo_ray.bilevel.collectives import Collective
from dabo_ray.bilevel.evidence import Evidence
from dabo_ray.bilevel.hypergradient import InnerGradient, InnerProblem, InnerStep, adjoint_hypergradient
from dabo_ray.bilevel.inner import Sgd, Tensors
from dabo_ray.data.loader import Batches, to_unit

MakeOptimizer = Callable[[Augmenter], torch.optim.Optimizer]


class Outer:
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
    ) -> None:
        self.augmenter = augmenter
        self.batches = batches
        self.inner_steps = inner_steps
        self.sgd = sgd
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

    def update(self, problem: InnerProblem, weights: Tensors, latest: InnerGradient) -> tuple[Tensor, Tensor]:
        """One update of the augmenter.

        Args:
            problem: the inner problem; its loss at the updated weights on plain outer images is the outer loss.
            weights: after the latest classifier update.
            latest: the gradient of that update, with its graph.

        Returns:
            Outer loss and norm of the hypergradient, scalars on the device.
        """
        batch = self.batches[self.updates]
        loss = problem.loss(weights, to_unit(batch.images), batch.labels, batch.size)
        loss, *outer_grad = self.collective.sum([loss.detach(), *torch.autograd.grad(loss, weights)])
        grads = adjoint_hypergradient(problem, list(self.window), outer_grad, self.sgd, self.collective, latest)
        for weight, grad in zip(self.augmenter.parameters(), grads, strict=True):
            weight.grad = grad
        self._evidence.add(grads)
        for group, first in zip(self.optimizer.param_groups, self._first_step_sizes, strict=True):
            group["lr"] = first * self.step_factor(self.updates)
        self.optimizer.step()
        self.updates += 1
        self.theta = self._theta_now()
        return loss, torch.stack(torch._foreach_norm(grads)).norm()

    def signal_to_noise(self) -> dict[str, float]:
        """Of the hypergradients since the last call, see `Evidence`; once per epoch."""
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
            "window": [{"weights": _detached(step.weights), "theta": _detached(step.theta)} for step in reached],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from `state_dict`, with an empty window that the caller fills again."""
        self.augmenter.load_state_dict(state["augmenter"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates = state["updates"]
        self.theta = self._theta_now()
        self.window.clear()


def _detached(tensors: Tensors) -> Tensors:
    return [tensor.detach() for tensor in tensors]
