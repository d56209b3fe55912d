"""Schedule of the classifier's learning rate over its epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MILESTONES, DECAY = (0.3, 0.6, 0.8), 0.2
"""As DABO trains on CIFAR."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Epochs and learning rates."""

    epochs: int
    lr: float
    """Learning rate after the warm-up, before the schedule lowers it."""

    shape: str = "cosine"
    """See `lr_factor`."""

    milestones: Sequence[float] = MILESTONES
    """See `lr_factor`."""

    decay: float = DECAY
    """See `lr_factor`."""

    warmup_epochs: int = 0
    """Epochs, fewer than `epochs`, in which the learning rate grows linearly to `lr`; the shape runs over the rest."""

    def lr_at(self, update: int, epoch_length: int) -> float:
        """Learning rate of an update, counted from 0, with `epoch_length` updates in an epoch."""
        warmup = self.warmup_epochs * epoch_length
        if update < warmup:
            return self.lr * (update + 1) / warmup
        progress = (update - warmup) / (self.epochs * epoch_length - warmup)
        return self.lr * lr_factor(self.shape, progress, self.milestones, self.decay)


def lr_factor(shape: str, progress: float, milestones: Sequence[float] = MILESTONES, decay: float = DECAY) -> float:
    """The learning rate over its first value.

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
