"""How long the classifier is trained, and with which steps."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Epochs and step sizes."""

    epochs: int
    lr: float
    """Step size after the warm-up, before the schedule lowers it."""

    shape: str = "cosine"
    """See `step_size_factor`."""

    warmup_epochs: int = 0
    """Epochs in which the step size grows linearly up to `lr`; the shape runs over the others. Fewer than `epochs`."""

    def step_size(self, update: int, epoch_length: int) -> float:
        """Step size of an update, counted from 0, with `epoch_length` updates in an epoch."""
        warmup = self.warmup_epochs * epoch_length
        if update < warmup:
            return self.lr * (update + 1) / warmup
        return self.lr * step_size_factor(self.shape, (update - warmup) / (self.epochs * epoch_length - warmup))


def step_size_factor(shape: str, progress: float) -> float:
    """The step size over its first value.

    Args:
        shape: `constant`; `cosine`, down to zero (Loshchilov and Hutter 2017, without restarts); `step`, times 0.2
            at 30, 60 and 80 % (as DABO trains on CIFAR).
        progress: part of all updates that is done, in [0, 1).
    """
    if shape == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if shape == "step":
        return float(0.2 ** sum(progress >= mark for mark in (0.3, 0.6, 0.8)))
    return 1.0
