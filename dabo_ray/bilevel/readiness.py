"""Readiness of a classifier to be trained on augmented images: it has begun to fit those that it has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

DECAY = 0.95
"""Of the moving mean of the training loss."""

LOOK_EVERY = 10
"""Updates after which the device is waited for, to see."""


class Readiness:
    """Whether the training loss has fallen to a part of what it was in the first update.

    Augmentation makes a training harder. That pays where a classifier fits its images better than others, which takes
    that it fits them; before, it only slows the training down.

    Args:
        share: of the first loss, in (0, 1].
        earliest: updates before which the answer is no.

    Reference: Karras et al. 2020 (adaptive discriminator augmentation), which augments as overfitting shows.
    """

    def __init__(self, share: float, earliest: int = 0) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share must be in (0, 1], got {share}")
        self.share = share
        self.earliest = earliest
        self._updates = 0
        self._first: Tensor | None = None
        self._mean: Tensor | None = None

    def is_reached(self, loss: Tensor) -> bool:
        """Whether it is, after an update more.

        Args:
            loss: of the update, over what it could be at least, on any device; a scalar.
        """
        if self._first is None or self._mean is None:
            self._first, self._mean = loss.clone(), torch.zeros_like(loss)
        self._mean = torch.lerp(self._mean, loss, 1 - DECAY)
        self._updates += 1
        if self._updates < self.earliest or self._updates % LOOK_EVERY:
            return False
        return bool(self._mean / (1 - DECAY**self._updates) <= self.share * self._first)

    def state_dict(self) -> dict[str, Any]:
        """All that the next answer depends on."""
        return {"updates": self._updates, "first": self._first, "mean": self._mean}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Goes on from `state_dict`."""
        self._updates = state["updates"]
        self._first, self._mean = (
            None if state[name] is None else state[name].to(device) for name in ("first", "mean")
        )
