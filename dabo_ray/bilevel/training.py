"""Training of a classifier, with its augmenter if that is learned; a record per epoch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.fixed import FixedAugmentation, Identity
from dabo_ray.bilevel.finite import Diverged
from dabo_ray.bilevel.graphs import make_updates
from dabo_ray.bilevel.inputs import Inputs
from dabo_ray.bilevel.learner import Learner
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.schedule import Schedule
from dabo_ray.bilevel.sgd import Sgd, Tensors, copied, global_norm
from dabo_ray.bilevel.task import Task
from dabo_ray.data.images import Images
from dabo_ray.data.loader import Batches
from dabo_ray.workers import Workers

Record = dict[str, float]


class Training:
    """One training run.

    Without `learner` it is ordinary SGD on augmented images. With it, the augmenter is learned: every `inner_steps`
    updates of the classifier, one of the augmenter (Mounsaveng et al. 2021, algorithm 1).

    Args:
        objective: the classifier and its loss; gives structure and first weights.
        task: of the classifier.
        augmentation: of the training images; `learner.augmenter` if it is learned.
        base: made by hand, of the images before `augmentation` where that is a network.
        learner: of the augmenter, or None.
        fit: batches to train on.
        score: images to judge by.
        part: what they are: `select`, judged by after every epoch, or `test`, after the last one alone.
        schedule: epochs and learning rates.
        sgd: the classifier's update rule, at any learning rate.
        seed: of the augmentation's random numbers and of dropout.
        workers: that share the batches.
    """

    def __init__(
        self,
        objective: Objective,
        task: Task,
        augmentation: FixedAugmentation | Augmenter,
        *,
        base: FixedAugmentation = Identity(),
        learner: Learner | None = None,
        fit: Batches,
        score: Images,
        part: Literal["select", "test"],
        schedule: Schedule,
        sgd: Sgd,
        seed: int,
        workers: Workers = Workers(),
    ) -> None:
        self.objective = objective
        self.task = task
        self.augmentation = augmentation
        self.learner = learner
        self.score = score
        self.part = part
        self.schedule = schedule
        self.seed = seed
        self.workers = workers
        self.weights = _leaves(objective.classifier.parameters())
        self.velocity = [torch.zeros_like(weight) for weight in self.weights]
        self.device = self.weights[0].device
        self.epoch = 0
        self.seconds = 0.0
        self.inputs = Inputs(
            fit,
            base,
            augmentation,
            schedule=schedule,
            sgd=sgd,
            seed=seed,
            has_dropout=objective.has_dropout,
            mask_classes=task.mask_classes,
            device=self.device,
        )
        self.updates = make_updates(objective, self.inputs.augment, learner, workers=workers, device=self.device)

    @property
    def fit(self) -> Batches:
        """Batches to train on."""
        return self.inputs.fit

    def epochs(self) -> Iterator[Record]:
        """Trains to the end, a record after each epoch.

        Raises:
            Diverged: the loss is not finite; nothing after the last record counts.
        """
        while self.epoch < self.schedule.epochs:
            start = time.perf_counter()
            try:
                record = self._train_one_epoch()
            except Diverged as error:
                place = f"epoch {self.epoch + 1}, step {error.update % len(self.fit) + 1}"
                raise Diverged(error.update, f"diverged at {place}") from None
            # The mean of moving averages is the moving average of means: once per epoch is enough, and workers agree.
            self.objective.average_statistics(self.workers)
            self.seconds += time.perf_counter() - start
            self.epoch += 1
            record |= {"epoch": self.epoch, "seconds": self.seconds}
            if self.part == "select" or self.epoch == self.schedule.epochs:
                found = self.task.judge(self.objective, self.weights, self.score, self.workers)
                record |= {f"{self.part}_{name}": value for name, value in found.items()}
            yield record

    def _train_one_epoch(self) -> Record:
        self.objective.classifier.train()
        totals: dict[str, Tensor] = {}
        before = 0 if self.learner is None else self.learner.updates
        for index in range(len(self.fit)):
            number = self.epoch * len(self.fit) + index
            for name, value in self.step(number).items():
                totals[name] = totals[name] + value if name in totals else value
        updates = 0 if self.learner is None else self.learner.updates - before
        # No loss has seen the weights after the last update.
        self.updates.guard.check(global_norm([weight.detach() for weight in self.weights]))
        self.updates.guard.raise_if_diverged()
        record = {
            name: float(total) / (len(self.fit) if name == "train_loss" else updates) for name, total in totals.items()
        }
        record["lr"] = self.inputs.lr((self.epoch + 1) * len(self.fit) - 1)
        if self.learner is not None:
            record["augmenter_updates"] = self.learner.updates
            record["rest_percent"] = 100 * self.learner.rested / (self.schedule.epochs * len(self.fit))
            record |= self.learner.signal_to_noise() | self.inputs.spread(self.learner.augmenter)
        return record

    def step(self, number: int) -> dict[str, Tensor]:
        """One update of the classifier and, when it is due, one of the augmenter; what to record, on the device."""
        step = self.inputs.step(number, self.weights, self.learner.theta if self.learner is not None else [])
        return self.updates.make(number, step, self.velocity)

    def state_dict(self) -> dict[str, Any]:
        """All that the following epochs depend on; they leave it as it is."""
        return {
            "epoch": self.epoch,
            "seconds": self.seconds,
            "weights": copied(self.weights),
            "velocity": copied(self.velocity),
            "buffers": dict(zip(self.objective.buffers, copied(list(self.objective.buffers.values())), strict=True)),
            "learner": None if self.learner is None else self.learner.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from the `state_dict` of any worker of a training with the same arguments."""
        self.epoch = state["epoch"]
        self.seconds = state["seconds"]
        self.weights = _leaves(state["weights"], self.device)
        self.velocity = [part.to(self.device) for part in state["velocity"]]
        self.objective.buffers = {name: part.to(self.device) for name, part in state["buffers"].items()}
        if self.learner is not None:
            self.learner.load_state_dict(state["learner"])
            window = state["learner"]["window"]
            for number, kept in enumerate(window, start=self.epoch * len(self.fit) - len(window)):
                weights, theta = (_leaves(kept[name], self.device) for name in ("weights", "theta"))
                grads = [part.to(self.device) for part in kept["grads"]]
                self.learner.window.append(replace(self.inputs.step(number, weights, theta), grads=grads))


def _leaves(tensors: Iterable[Tensor], device: torch.device | None = None) -> Tensors:
    return [tensor.detach().to(device, copy=True).requires_grad_() for tensor in tensors]
