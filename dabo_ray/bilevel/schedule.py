"""How long the classifier is trained, and with which steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MILESTONES, DECAY = (0.3, 0.6, 0.8), 0.2
"""As DABO trains on CIFAR."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Epochs and step sizes."""

    epochs: int
    lr: float
    """Step size after the warm-up, before the schedule lowers it."""

    shape: str = "cosine"
    """See `step_size_factor`."""

    milestones: Sequence[float] = MILESTONES
    """See `step_size_factor`."""

    decay: float = DECAY
    """See `step_size_factor`."""

    warmup_epochs: int = 0
    """Epochs in which the step size grows linearly up to `lr`; the shape runs over the others. Fewer than `epochs`."""

    def step_size(self, update: int, epoch_length: int) -> float:
        """Step size of an update, counted from 0, with `epoch_length` updates in an epoch."""
        warmup = self.warmup_epochs * epoch_length
        if update < warmup:
            return self.lr * (update + 1) / warmup
        progress = (update - warmup) / (self.epochs * epoch_length - warmup)
        return self.lr * step_size_factor(self.shape, progress, self.milestones, self.decay)


def step_size_factor(
    shape: str, progress: float, milestones: Sequence[float] = MILESTONES, decay: float = DECAY
) -> float:
    """The step size over its first value.

    Args:
        shape: `constant`; `cosine`, down to zero (Loshchilov and Hutter 2017, without restarts); `step`, times `decay`
            at each milestone.
        progress: part of all updates that is done, in [0, 1).
        milestones: values of `progress`.
        decay: in (0, 1].
    """
    if shape == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if shape == "step":
        return float(decay ** sum(progress >= milestone for milestone in milestones))
    return 1.0
