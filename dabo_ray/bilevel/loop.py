"""Training of a classifier, with its augmenter if that is learned, in the paper's order; a record per epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from dabo_ray.augment.fixed import FixedAugmentation, Params
from dabo_ray.augment.learned import Augmenter, Frozen
from dabo_ray.bilevel.collectives import Collective
from dabo_ray.bilevel.hypergradient import InnerProblem, InnerStep, inner_gradient
from dabo_ray.bilevel.inner import Sgd, Tensors, step_size_factor
from dabo_ray.bilevel.outer import Outer
from dabo_ray.data.loader import Batches, to_unit
from dabo_ray.data.sources import Images
from dabo_ray.seeds import derive

Record = dict[str, float]
SPREAD_SAMPLES = 4096
"""Draws from which the learned distribution is described."""

EVALUATION_BATCH = 512


class Diverged(Exception):
    """The loss is no longer a finite number; the weights of the last record are the last good ones."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long the classifier is trained, and with which steps."""

    epochs: int
    lr: float
    shape: str = "cosine"
    """See `step_size_factor`."""


class Training:
    """One training run.

    Without `outer` it is ordinary SGD on augmented images. With it, the augmenter is learned: every `inner_steps`
    updates of the classifier, one of the augmenter (Mounsaveng et al. 2021, algorithm 1).

    Args:
        classifier: network from images in [0, 1] to class scores; gives structure and first weights.
        augmentation: of the training images; `outer.augmenter` if it is learned.
        outer: the outer problem, or None.
        fit: batches to train on.
        score: images to judge by.
        score_name: `select_accuracy`, after every epoch; or `test_accuracy`, after the last one alone.
        schedule: epochs and step sizes.
        sgd: the classifier's update rule.
        seed: of the augmentation's random numbers.
        collective: sums over the workers that share the batches.
    """

    def __init__(
        self,
        classifier: nn.Module,
        augmentation: FixedAugmentation | Augmenter,
        *,
        outer: Outer | None = None,
        fit: Batches,
        score: Images,
        score_name: str,
        schedule: Schedule,
        sgd: Sgd,
        seed: int,
        collective: Collective,
    ) -> None:
        self.classifier = classifier
        self.augmentation = augmentation
        self.outer = outer
        self.fit = fit
        self.score = score
        self.score_name = score_name
        self.schedule = schedule
        self.sgd = sgd
        self.seed = seed
        self.collective = collective
        self.names = [name for name, _ in classifier.named_parameters()]
        self.weights = [weight.detach().clone().requires_grad_() for weight in classifier.parameters()]
        self.velocity = [torch.zeros_like(weight) for weight in self.weights]
        self.buffers = {name: buffer.clone() for name, buffer in classifier.named_buffers()}
        self.epoch = 0
        self.seconds = 0.0
        self.problem = InnerProblem(self._augment, self._loss)
        self.device = self.weights[0].device

    def epochs(self) -> Iterator[Record]:
        """Trains to the end, a record after each epoch.

        Raises:
            Diverged: the loss is not finite; nothing after the last record counts.
        """
        while self.epoch < self.schedule.epochs:
            start = time.perf_counter()
            record = self._train_one_epoch()
            # The mean of moving averages is the moving average of means: once per epoch is enough, and workers agree.
            self.buffers = self._shared_buffers()
            self.seconds += time.perf_counter() - start
            self.epoch += 1
            record |= {"epoch": self.epoch, "seconds": self.seconds}
            if self.score_name == "select_accuracy" or self.epoch == self.schedule.epochs:
                record[self.score_name] = self.accuracy(self.score)
            yield record

    def _train_one_epoch(self) -> Record:
        self.classifier.train()
        total = torch.zeros(3, device=self.device)
        updates = 0
        first_bad = torch.full((), -1, device=self.device)
        for index in range(len(self.fit)):
            losses = self._step(self.epoch * len(self.fit) + index)
            total[: len(losses)] += losses
            updates += len(losses) > 1
            # Looking at a value of a GPU stops it at every step; there the first bad step is found after the epoch.
            first_bad = torch.where((first_bad < 0) & ~losses.isfinite().all(), index, first_bad)
            if self.device.type == "cpu":
                self._check(first_bad)
        # No loss has seen the weights after the last update.
        sizes = torch.stack(torch._foreach_norm([weight.detach() for weight in self.weights]))
        first_bad = torch.where((first_bad < 0) & ~sizes.isfinite().all(), len(self.fit) - 1, first_bad)
        self._check(first_bad)
        record = {
            "train_loss": float(total[0]) / len(self.fit),
            "learning_rate": self._step_size((self.epoch + 1) * len(self.fit) - 1),
        }
        if self.outer is not None:
            if updates:
                record |= {
                    "outer_loss": float(total[1]) / updates,
                    "hypergradient_norm": float(total[2]) / updates,
                }
            record |= self.outer.signal_to_noise() | self.spread(self.outer.augmenter)
        return record

    def _step(self, number: int) -> Tensor:
        """One update of the classifier and, when it is due, one of the augmenter; the losses on the device."""
        step = self._inner_step(number, self.weights, self.outer.theta if self.outer is not None else [])
        outer = self.outer if self.outer is not None and self.outer.is_due_after(number) else None
        if self.outer is not None:
            self.outer.window.append(step)
        latest = None
        # Inner problem: one SGD step on augmented training images.
        if outer is not None:
            inner_loss, latest = inner_gradient(self.problem, step, self._moving_loss, in_weights=len(outer.window) > 1)
            grads = [grad.detach() for grad in latest.grads]
        else:
            inner_loss, grads = self._plain_gradient(step)
        inner_loss, *grads = self.collective.sum([inner_loss, *grads])
        updated = self.sgd.step(self.weights, self.velocity, grads, step.lr)
        self.weights, self.velocity = updated.weights, updated.velocity
        if outer is None or latest is None:
            return inner_loss[None]
        # Outer problem: how should the augmenter change for the updated weights to do better?
        return torch.stack([inner_loss, *outer.update(self.problem, updated.weights, latest)])

    def _inner_step(self, number: int, weights: Tensors, theta: Tensors) -> InnerStep:
        """The update of this number, counted from 0: all but the weights follow from the number and the seeds."""
        batch = self.fit[number]
        generator = torch.Generator().manual_seed(derive(self.seed, "augment", number))
        params = [self.fit.share.of(part) for part in self.augmentation.draw(batch.size, generator)]
        if not isinstance(self.augmentation, FixedAugmentation):
            params = [part.to(self.device, non_blocking=True) for part in params]
        images = to_unit(batch.images)
        if isinstance(self.augmentation, Augmenter | Frozen):
            params += self.augmentation.context(images, batch.labels)
        return InnerStep(
            weights=weights,
            theta=theta,
            images=images,
            labels=batch.labels,
            params=tuple(params),
            size=batch.size,
            lr=self._step_size(number),
        )

    def _step_size(self, number: int) -> float:
        progress = number / (self.schedule.epochs * len(self.fit))
        return self.schedule.lr * step_size_factor(self.schedule.shape, progress)

    def _plain_gradient(self, step: InnerStep) -> tuple[Tensor, Tensors]:
        with torch.no_grad():
            augmented = self._augment(step.theta, step.images, step.params)
        loss = self._moving_loss(step.weights, augmented, step.labels, step.size)
        return loss.detach(), list(torch.autograd.grad(loss, step.weights))

    def _augment(self, theta: Tensors, images: Tensor, params: Params) -> Tensor:
        if isinstance(self.augmentation, FixedAugmentation):
            return self.augmentation.apply(images, params)
        names = [name for name, _ in self.augmentation.named_parameters()]
        augmented: Tensor = functional_call(self.augmentation, dict(zip(names, theta, strict=True)), (images, *params))
        return augmented

    def _moving_loss(self, weights: Tensors, images: Tensor, labels: Tensor, size: int) -> Tensor:
        """The loss of a real update, which moves the running statistics of batch normalisation."""
        return self._loss_with(self.buffers, weights, images, labels, size)

    def _loss(self, weights: Tensors, images: Tensor, labels: Tensor, size: int) -> Tensor:
        buffers = {name: buffer.clone() for name, buffer in self.buffers.items()}
        return self._loss_with(buffers, weights, images, labels, size)

    def _loss_with(
        self, buffers: dict[str, Tensor], weights: Tensors, images: Tensor, labels: Tensor, size: int
    ) -> Tensor:
        values = dict(zip(self.names, weights, strict=True)) | buffers
        scores = functional_call(self.classifier, values, (images,))
        return cross_entropy(scores, labels, reduction="sum") / size

    def _check(self, first_bad: Tensor) -> None:
        index = int(first_bad)
        if index >= 0:
            raise Diverged(f"diverged at epoch {self.epoch + 1}, step {index + 1}")

    @torch.no_grad()
    def accuracy(self, images: Images) -> float:
        """Percent of images that the classifier, as trained so far, gets right; all workers take part."""
        self.classifier.eval()
        values = dict(zip(self.names, self.weights, strict=True)) | self.buffers
        mine = images.take(self.fit.share.of(torch.arange(len(images))))
        right = torch.zeros((), device=self.device)
        for start in range(0, len(mine), EVALUATION_BATCH):
            part = mine.images[start : start + EVALUATION_BATCH].to(self.device)
            guessed = functional_call(self.classifier, values, (to_unit(part),)).argmax(1)
            right += (guessed == mine.labels[start : start + EVALUATION_BATCH].to(self.device)).sum()
        (right,) = self.collective.sum([right])
        return 100 * float(right) / len(images)

    def _shared_buffers(self) -> dict[str, Tensor]:
        """Running statistics averaged over the workers, which each saw a part of every batch."""
        moving = {name: buffer for name, buffer in self.buffers.items() if buffer.is_floating_point()}
        if self.collective.world_size == 1 or not moving:
            return self.buffers
        summed = self.collective.sum(list(moving.values()))
        mean = {name: total / self.collective.world_size for name, total in zip(moving, summed, strict=True)}
        return self.buffers | mean

    def spread(self, augmenter: Augmenter) -> Record:
        """The augmenter's distribution, from the same draws every time so that epochs can be compared."""
        generator = torch.Generator().manual_seed(derive(self.seed, "spread"))
        params = [part.to(self.device) for part in augmenter.draw(SPREAD_SAMPLES, generator)]
        if augmenter.conditioning != "none":
            batch = self.fit[0]
            rows = torch.arange(SPREAD_SAMPLES, device=self.device) % len(batch.labels)
            params += [part[rows] for part in augmenter.context(to_unit(batch.images), batch.labels)]
        described = augmenter.spread(*params)
        return {name: value for name, value in described.items() if math.isfinite(value)}

    def state_dict(self) -> dict[str, Any]:
        """All that the following epochs depend on."""
        return {
            "epoch": self.epoch,
            "seconds": self.seconds,
            "weights": [weight.detach() for weight in self.weights],
            "velocity": self.velocity,
            "buffers": self.buffers,
            "outer": None if self.outer is None else self.outer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from the `state_dict` of any worker of a training with the same arguments."""
        self.epoch = state["epoch"]
        self.seconds = state["seconds"]
        self.weights = _leaves(state["weights"], self.device)
        self.velocity = [part.to(self.device) for part in state["velocity"]]
        # Running statistics are moved in place.
        self.buffers = {name: part.to(self.device, copy=True) for name, part in state["buffers"].items()}
        if self.outer is not None:
            self.outer.load_state_dict(state["outer"])
            window = state["outer"]["window"]
            for number, kept in enumerate(window, start=self.epoch * len(self.fit) - len(window)):
                weights, theta = (_leaves(kept[name], self.device) for name in ("weights", "theta"))
                self.outer.window.append(self._inner_step(number, weights, theta))


def _leaves(tensors: Tensors, device: torch.device) -> Tensors:
    return [tensor.detach().to(device).requires_grad_() for tensor in tensors]
