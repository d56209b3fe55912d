"""Learning an augmenter from the training loss itself, to compare the outer problem with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.bilevel.finite import FiniteGuard
from dabo_ray.bilevel.hypergradient import InnerProblem, InnerStep, Loss, augmented_apart
from dabo_ray.bilevel.learner import AugmenterGradient, Learner
from dabo_ray.bilevel.sgd import Tensors
from dabo_ray.data.loader import Batch


@dataclass(frozen=True)
class Pass:
    """What an update of the augmenter needs of the classifier's pass."""

    images: Tensor
    """(B, C, H, W) before augmentation."""

    produced: Tensors
    """Augmented images, (B, C, H, W), and masks if they are moved too, with the graph to theta."""

    of_augmented: Tensors
    """Derivatives of this worker's part of the loss with respect to these."""

    theta: Tensors
    size: int
    """Images of the whole batch."""


class TrainingLossLearner(Learner):
    """Moves the augmenter along the gradient of the training loss, which the classifier's own pass gives.

    Without a budget it descends, jointly with the classifier (a spatial transformer, Jaderberg et al. 2015, that sees
    noise in place of the image). With one it ascends, against the classifier, while the root mean square change of a
    pixel stays within the budget: beyond it, the change itself is descended, with a gradient of the same size (the
    switching subgradient method, Polyak 1967).

    Args:
        augmenter: changed in place at every update.
        budget: largest root mean square change of a pixel of [0, 1], over the images of a batch; None: descends.
        options: see `Learner`; no updates are kept.
    """

    NORM = "augmenter_gradient_norm"

    def __init__(self, augmenter: Augmenter, *, budget: float | None, **options: Any) -> None:
        super().__init__(augmenter, truncation=0, **options)
        self.budget = budget

    def inner_gradient(
        self, problem: InnerProblem, step: InnerStep, window: Sequence[InnerStep], loss: Loss
    ) -> tuple[Tensor, Tensors, AugmenterGradient]:
        """The classifier's pass, whose backward goes on to the images."""
        del window
        seen, augmented, produced = augmented_apart(problem, step)
        value = loss(step.weights, *seen, step.size, step.masks)
        found = torch.autograd.grad(value, [*step.weights, *augmented])
        grads, of_augmented = list(found[: len(step.weights)]), list(found[len(step.weights) :])
        latest = Pass(step.images, produced, of_augmented, step.theta, step.size)
        return value.detach(), grads, partial(self._gradient, latest)

    def _gradient(
        self, latest: Pass, step: InnerStep, weights: Tensors, batch: Batch | None, guard: FiniteGuard
    ) -> tuple[dict[str, Tensor], Tensors]:
        """No losses; what to descend."""
        del step, weights, batch, guard
        towards = latest.of_augmented if self.budget is None else self._against(latest, self.budget)
        return {}, self.workers.sum(torch.autograd.grad(latest.produced, latest.theta, towards))

    def _against(self, latest: Pass, budget: float) -> Tensors:
        """What to descend, as derivatives with respect to what was augmented."""
        of_images, *of_masks = latest.of_augmented
        change = latest.produced[0].detach() - latest.images
        squares = torch.stack((change.square().sum(), of_images.square().sum()))
        (squares,) = self.workers.sum([squares])
        of_change = change * (squares[1] / squares[0].clamp(min=1e-30)).sqrt()
        is_beyond = squares[0] > budget**2 * latest.size * change[0].numel()
        return [torch.where(is_beyond, of_change, -of_images), *(~is_beyond * -of_mask for of_mask in of_masks)]
