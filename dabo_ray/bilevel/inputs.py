"""Inputs of the classifier's updates: all but the weights follows from the number of an update and the seeds."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.fixed import FixedAugmentation, Params
from dabo_ray.augment.frozen import FrozenAugmenter
from dabo_ray.augment.with_masks import augmented_by
from dabo_ray.bilevel.dropout import Masks
from dabo_ray.bilevel.hypergradient import InnerStep
from dabo_ray.bilevel.schedule import Schedule
from dabo_ray.bilevel.sgd import Sgd, Tensors
from dabo_ray.data.loader import Batch, Batches
from dabo_ray.seeds import derive
from dabo_ray.transfer import sent

SPREAD_SAMPLES = 4096
"""Draws from which the learned distribution is described."""


class Inputs:
    """Images, random numbers and learning rate of every update, counted from 0, and what is made of its images.

    Args:
        fit: batches to train on.
        base: made by hand, of the images that a network is given to augment; changes no labels.
        augmentation: of the training images.
        schedule: epochs and learning rates.
        sgd: the update rule, at any learning rate.
        seed: of the random numbers.
        has_dropout: whether the classifier drops features, which needs random numbers.
        mask_classes: classes of pixels, where labels are masks; None: labels are of whole images.
        device: where the classifier is.
    """

    def __init__(
        self,
        fit: Batches,
        base: FixedAugmentation,
        augmentation: FixedAugmentation | Augmenter,
        *,
        schedule: Schedule,
        sgd: Sgd,
        seed: int,
        has_dropout: bool,
        mask_classes: int | None = None,
        device: torch.device,
    ) -> None:
        self.fit = fit
        self.base = base
        self.augmentation = augmentation
        self.schedule = schedule
        self.sgd = sgd
        self.seed = seed
        self.has_dropout = has_dropout
        self.mask_classes = mask_classes
        self.device = device

    def step(self, number: int, weights: Tensors, theta: Tensors) -> InnerStep:
        """The update of this number, from weights of the classifier and of the augmenter."""
        batch = self.fit[number]
        images, labels, params = self._augmented(number, batch)
        masks = Masks(derive(self.seed, "dropout", number), self.fit.workers, batch.size) if self.has_dropout else None
        return InnerStep(
            weights=weights,
            theta=theta,
            images=images,
            labels=labels,
            params=params,
            size=batch.size,
            sgd=self.sgd.with_lr(self.lr(number)),
            masks=masks,
        )

    def lr(self, number: int) -> float:
        """Learning rate of the classifier's update of this number."""
        return self.schedule.lr_at(number, len(self.fit))

    def augment(self, theta: Tensors, images: Tensor, labels: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """The images that the classifier sees, of those of an update, and what it is to say of them."""
        if not isinstance(self.augmentation, Augmenter):
            return images, labels
        return augmented_by(self.augmentation, theta, images, labels, params, num_classes=self.mask_classes)

    def spread(self, augmenter: Augmenter) -> dict[str, float]:
        """The augmenter's distribution, from the same draws every time so that epochs can be compared."""
        generator = torch.Generator().manual_seed(derive(self.seed, "spread"))
        params = [part.to(self.device) for part in augmenter.draw(SPREAD_SAMPLES, generator)]
        if augmenter.conditioning != "none":
            batch = self.fit[0]
            rows = torch.arange(SPREAD_SAMPLES, device=self.device) % len(batch.labels)
            context = augmenter.context(*self._under_base(0, batch))
            params += [part[rows] for part in context]
        described = augmenter.spread(*params)
        return {name: value for name, value in described.items() if math.isfinite(value)}

    def _augmented(self, number: int, batch: Batch) -> tuple[Tensor, Tensor, Params]:
        """Images, labels and random numbers of an update: only a learned augmenter's work is left to be done."""
        params = self._draw(self.augmentation, "augment", number, batch.size)
        if not isinstance(self.augmentation, Augmenter | FrozenAugmenter):
            # What is made by hand takes the bytes as they are.
            images = self.augmentation.apply_uint8(batch.images, params)
            return images, self.augmentation.targets(batch.labels, batch.images, params), ()
        images, labels = self._under_base(number, batch)
        params = (*sent(params, self.device), *self.augmentation.context(images, labels))
        if isinstance(self.augmentation, FrozenAugmenter):
            return self.augmentation.apply(images, params), self.augmentation.targets(labels, images, params), ()
        return images, labels, params

    def _under_base(self, number: int, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images, in [0, 1], and labels as the augmenter is given them."""
        params = self._draw(self.base, "base", number, batch.size)
        return self.base.apply_uint8(batch.images, params), self.base.targets(batch.labels, batch.images, params)

    def _draw(self, augmentation: FixedAugmentation | Augmenter, purpose: str, number: int, size: int) -> Params:
        """This worker's rows of the random numbers of a whole batch."""
        generator = torch.Generator().manual_seed(derive(self.seed, purpose, number))
        return tuple(self.fit.workers.shard(part) for part in augmentation.draw(size, generator))
