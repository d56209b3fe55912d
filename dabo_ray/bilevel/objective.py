"""The classifier as a function of its weights, and its loss."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from dabo_ray.bilevel.collectives import Collective
from dabo_ray.bilevel.dropout import Masks, dropout_by
from dabo_ray.bilevel.inner import Tensors


class Objective:
    """Cross entropy of a network whose weights are given at each call.

    Args:
        classifier: network from images in [0, 1] to class scores; gives structure and first running statistics.
        label_smoothing: part of each target that is spread over all classes, as in `cross_entropy`, in [0, 1).
        bfloat16: whether the network is computed with torch's autocast to bfloat16; weights and loss stay as they are.
    """

    def __init__(self, classifier: nn.Module, *, label_smoothing: float = 0.0, bfloat16: bool = False) -> None:
        self.classifier = classifier
        self.label_smoothing = label_smoothing
        self.bfloat16 = bfloat16
        self.names = [name for name, _ in classifier.named_parameters()]
        self.buffers = {name: buffer.clone() for name, buffer in classifier.named_buffers()}
        self.has_dropout = any(isinstance(part, nn.Dropout) and part.p > 0 for part in classifier.modules())
        self._moved = self.buffers

    def loss(self, weights: Tensors, images: Tensor, labels: Tensor, size: int, masks: Masks | None) -> Tensor:
        """This worker's part of the mean loss over `size` images; running statistics stay as they are.

        Args:
            weights: in the order of the classifier's parameters.
            images: (B, C, H, W).
            labels: (B,) classes, or (B, num_classes) shares of them.
            size: images over all workers.
            masks: of dropout; None: nothing is dropped.
        """
        return self._loss(self._copied(), weights, images, labels, size, masks)

    def moving_loss(self, weights: Tensors, images: Tensor, labels: Tensor, size: int, masks: Masks | None) -> Tensor:
        """As `loss`, in a real update: `settle` will move the running statistics."""
        self._moved = self._copied()
        return self._loss(self._moved, weights, images, labels, size, masks)

    def settle(self, is_good: Tensor | None = None) -> None:
        """Takes over the running statistics of the latest `moving_loss`, if a truth on the device says so."""
        if is_good is not None:
            pairs = zip(self.buffers.items(), self._moved.values(), strict=True)
            self._moved = {name: torch.where(is_good, new, old) for (name, old), new in pairs}
        self.buffers = self._moved

    def scores(self, weights: Tensors, images: Tensor) -> Tensor:
        """Class scores as far as the classifier is trained; it must be in evaluation."""
        return self._scores(self.buffers, weights, images)

    def average(self, collective: Collective) -> None:
        """Averages running statistics over the workers, which each see a part of every batch."""
        moving = {name: buffer for name, buffer in self.buffers.items() if buffer.is_floating_point()}
        if collective.world_size > 1 and moving:
            sums = zip(moving, collective.sum(list(moving.values())), strict=True)
            self.buffers = self.buffers | {name: total / collective.world_size for name, total in sums}

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
        return cross_entropy(scores, labels, reduction="sum", label_smoothing=self.label_smoothing) / size

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
        return {name: buffer.clone() for name, buffer in self.buffers.items()}
