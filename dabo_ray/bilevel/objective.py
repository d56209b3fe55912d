"""Objective: the classifier as a function of its weights, and its loss."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from dabo_ray.bilevel.dropout import Masks, dropout_by
from dabo_ray.bilevel.finite import FiniteGuard
from dabo_ray.bilevel.sgd import Tensors, copied
from dabo_ray.workers import Workers

Criterion = Callable[[Tensor, Tensor], Tensor]
"""((B, num_classes) scores, labels) -> loss summed over the images, a scalar."""


Least = Callable[[Tensor], Tensor]
"""labels -> the least that the criterion can be for them, summed over the images, a scalar."""


def least_cross_entropy(labels: Tensor, *, num_classes: int, label_smoothing: float = 0.0) -> Tensor:
    """The least that the cross entropy with these labels can be, summed over the images: the labels' own entropy.

    Args:
        labels: (B,) classes, or (B, num_classes) shares of them.
        num_classes: of the classifier.
        label_smoothing: as of torch's `cross_entropy`, in [0, 1].
    """
    each = len(labels) if labels.ndim == 1 else 1
    shares = torch.eye(1, num_classes, device=labels.device) if labels.ndim == 1 else labels
    shares = (1 - label_smoothing) * shares + label_smoothing / num_classes
    entropy: Tensor = -torch.special.xlogy(shares, shares).sum()
    return each * entropy


class Objective:
    """Loss of a network whose weights are given at each call.

    Args:
        classifier: network from images to class scores; gives structure and first running statistics.
        criterion: the loss; by default cross entropy of (B,) classes or (B, num_classes) shares of them.
        least: what the criterion can be at least; None: zero.
        names: parameters that are given, in the order in which they are; None: all. Others stay as they are.
        bfloat16: whether the network is computed with torch's autocast to bfloat16; weights and loss stay as they are.
    """

    def __init__(
        self,
        classifier: nn.Module,
        criterion: Criterion = partial(cross_entropy, reduction="sum"),
        *,
        least: Least | None = None,
        names: Sequence[str] | None = None,
        bfloat16: bool = False,
    ) -> None:
        self.classifier = classifier
        self.criterion = criterion
        self.least = least
        self.bfloat16 = bfloat16
        self.names = [name for name, _ in classifier.named_parameters()] if names is None else list(names)
        self.buffers = {name: buffer.clone() for name, buffer in classifier.named_buffers()}
        self.has_dropout = any(isinstance(part, nn.Dropout) and part.p > 0 for part in classifier.modules())
        self._moved = self.buffers

    def loss(self, weights: Tensors, images: Tensor, labels: Tensor, size: int, masks: Masks | None) -> Tensor:
        """This worker's part of the mean loss over `size` images; running statistics stay as they are.

        Args:
            weights: in the order of the classifier's parameters.
            images: (B, C, H, W).
            labels: as the criterion takes them.
            size: images over all workers.
            masks: of dropout; None: nothing is dropped.
        """
        return self._loss(self._copied(), weights, images, labels, size, masks)

    def least_loss(self, labels: Tensor, size: int) -> Tensor:
        """What this worker's part of the mean loss over `size` images can be at least."""
        return torch.zeros((), device=labels.device) if self.least is None else self.least(labels) / size

    def moving_loss(self, weights: Tensors, images: Tensor, labels: Tensor, size: int, masks: Masks | None) -> Tensor:
        """As `loss`, in a real update: `commit_statistics` will move the running statistics."""
        self._moved = self._copied()
        return self._loss(self._moved, weights, images, labels, size, masks)

    def commit_statistics(self, guard: FiniteGuard) -> None:
        """Takes over the running statistics of the latest `moving_loss`, as long as all is finite."""
        kept = guard.kept(list(self._moved.values()), list(self.buffers.values()))
        self.buffers = dict(zip(self.buffers, kept, strict=True))

    def scores(self, weights: Tensors, images: Tensor) -> Tensor:
        """Class scores as far as the classifier is trained; it must be in evaluation."""
        return self._scores(self.buffers, weights, images)

    def average_statistics(self, workers: Workers) -> None:
        """Averages running statistics over the workers, which each see a part of every batch."""
        moving = {name: buffer for name, buffer in self.buffers.items() if buffer.is_floating_point()}
        if workers.world_size > 1 and moving:
            sums = zip(moving, workers.sum(list(moving.values())), strict=True)
            self.buffers = self.buffers | {name: total / workers.world_size for name, total in sums}

    def _loss(
        self,
        buffers: dict[str, Tensor],
        weights: Tensors,
        images: Tensor,
        labels: Tensor,
        size: int,
        masks: Masks | None,
    ) -> Tensor:
        with dropout_by(masks) if self.has_dropout else contextlib.nullcontext():
            scores = self._scores(buffers, weights, images)
        return self.criterion(scores, labels) / size

    def _scores(self, buffers: dict[str, Tensor], weights: Tensors, images: Tensor) -> Tensor:
        values = dict(zip(self.names, weights, strict=True)) | buffers
        with self._precision(images.device.type):
            scores: Tensor = functional_call(self.classifier, values, (images,))
        return scores.float() if scores.dtype == torch.bfloat16 else scores

    def _precision(self, device: str) -> contextlib.AbstractContextManager[object]:
        if not self.bfloat16:
            return contextlib.nullcontext()
        # Weights are other tensors at every update: a cache of cast ones would only grow.
        return torch.autocast(device, torch.bfloat16, cache_enabled=False)

    def _copied(self) -> dict[str, Tensor]:
        return dict(zip(self.buffers, copied(list(self.buffers.values())), strict=True))
