"""Estimator of an update's derivatives: its own images, a part of them, or each with the opposite noise as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dabo_ray.bilevel.hypergradient import InnerStep
from dabo_ray.workers import Workers


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """An unbiased stand-in for a classifier update, cheaper to differentiate or with less noise in its derivative.

    The products with second derivatives that the hypergradient is made of are means over the images of an update. The
    order of a batch is random, so its first images are a random part of it, the same for any number of workers.
    """

    workers: Workers
    """That share every batch."""

    fraction: float = 1.0
    """Part of the batch that the products are taken over, in (0, 1]; the mean over it estimates the whole mean."""

    antithetic: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]] | None = None
    """From the augmentation's random numbers to those of the opposite noise, which are as likely: the images are
    taken twice, with both. Estimates the derivative of the expected update, over noise, not that of the one done."""

    def __call__(self, step: InnerStep) -> InnerStep:
        """What is differentiated in place of the step; weights, augmenter and step size stay."""
        whole = step.size
        # Every worker needs two images: a network cannot take the statistics of one.
        size = min(whole, max(2 * self.workers.world_size, round(self.fraction * whole)))
        mine = len(range(self.workers.rank, size, self.workers.world_size))
        images, labels, params = step.images[:mine], step.labels[:mine], tuple(part[:mine] for part in step.params)
        if self.antithetic is None:
            masks = step.masks and replace(step.masks, size=size)
            return replace(step, images=images, labels=labels, params=params, size=size, masks=masks)
        both = zip(params, self.antithetic(params), strict=True)
        return replace(
            step,
            images=torch.cat((images, images)),
            labels=torch.cat((labels, labels)),
            params=tuple(torch.cat(pair) for pair in both),
            size=2 * size,
            masks=step.masks and replace(step.masks, size=size, repeats=2),
        )
