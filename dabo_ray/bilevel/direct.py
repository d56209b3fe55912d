"""Augmenters that learn from the training loss itself, to compare the outer problem with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.bilevel.collectives import Collective
from dabo_ray.bilevel.hypergradient import InnerProblem, InnerStep, Loss
from dabo_ray.bilevel.inner import Tensors
from dabo_ray.bilevel.learner import Learner, MakeOptimizer


@dataclass(frozen=True)
class Pass:
    """What an update of the augmenter needs of the classifier's pass."""

    images: Tensor
    """(B, C, H, W) before augmentation."""

    produced: Tensor
    """(B, C, H, W) after it, with the graph to theta."""

    of_images: Tensor
    """Derivative of this worker's part of the loss with respect to the augmented images."""

    theta: Tensors
    size: int
    """Images of the whole batch."""


class Direct(Learner):
    """Moves the augmenter along the gradient of the training loss, which the classifier's own pass gives.

    Without a budget it descends, jointly with the classifier (a spatial transformer, Jaderberg et al. 2015, that sees
    noise in place of the image). With one it ascends, against the classifier, while the root mean square change of a
    pixel stays within the budget: beyond it, the change itself is descended, with a gradient of the same size (the
    switching subgradient method, Polyak 1967).

    Args:
        augmenter: changed in place at every update.
        budget: largest root mean square change of a pixel of [0, 1], over the images of a batch; None: descends.
        inner_steps: classifier updates between two augmenter updates, >= 1.
        make_optimizer: from the augmenter to the optimiser of its weights.
        step_factor: the optimiser's step size over its first one, by the number of updates done.
        collective: sums over the workers.
    """

    def __init__(
        self,
        augmenter: Augmenter,
        *,
        budget: float | None,
        inner_steps: int,
        make_optimizer: MakeOptimizer,
        step_factor: Callable[[int], float] = lambda update: 1.0,
        collective: Collective,
    ) -> None:
        super().__init__(
            augmenter,
            inner_steps=inner_steps,
            truncation=0,
            make_optimizer=make_optimizer,
            step_factor=step_factor,
            collective=collective,
        )
        self.budget = budget

    def inner_gradient(self, problem: InnerProblem, step: InnerStep, loss: Loss) -> tuple[Tensor, Tensors, Pass]:
        """The classifier's pass, whose backward goes on to the images."""
        produced = problem.augment(step.theta, step.images, step.params)
        augmented = produced.detach().requires_grad_()
        value = loss(step.weights, augmented, step.labels, step.size, step.masks)
        *grads, of_images = torch.autograd.grad(value, [*step.weights, augmented])
        return value.detach(), grads, Pass(step.images, produced, of_images, step.theta, step.size)

    def update(self, problem: InnerProblem, weights: Tensors, latest: Pass) -> dict[str, Tensor]:
        """One update of the augmenter: the norm of its gradient."""
        del problem, weights
        towards = latest.of_images if self.budget is None else self._against(latest, self.budget)
        grads = torch.autograd.grad(latest.produced, latest.theta, towards)
        return {"augmenter_gradient_norm": self.descend(self.collective.sum(grads))}

    def _against(self, latest: Pass, budget: float) -> Tensor:
        """What to descend, as a derivative with respect to the augmented images."""
        change = latest.produced.detach() - latest.images
        squares = torch.stack((change.square().sum(), latest.of_images.square().sum()))
        (squares,) = self.collective.sum([squares])
        of_change = change * (squares[1] / squares[0].clamp(min=1e-30)).sqrt()
        is_beyond = squares[0] > budget**2 * latest.size * change[0].numel()
        return torch.where(is_beyond, of_change, -latest.of_images)
