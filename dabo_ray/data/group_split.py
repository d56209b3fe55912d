"""Splits that keep groups whole, such as the images of a patient, where a group may have images of every class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

SIZE_DRAW = 1.0
"""Groups are given out from the largest to the smallest, by the logarithm to base 2 of their size and a random number
up to this: where the order is strict, every seed divides a few groups alike."""


def split_groups(
    groups: Tensor, labels: Tensor, fractions: Sequence[float], at_least: Sequence[int], generator: torch.Generator
) -> list[Tensor]:
    """Indices of disjoint parts, one per fraction and a last one with the rest; no group is in two of them.

    Every class is divided in the given fractions as nearly as the groups allow: one after the other, each goes to where
    the sum of (images there - images wanted)^2 / (images wanted) over classes and parts is the least.

    Args:
        groups: (N,) int64, of any numbers.
        labels: (N,) int64, from 0.
        fractions: of the images, each in (0, 1], with a sum of at most 1.
        at_least: groups that each part must get, the last one too.
        generator: draws the order of the groups.

    Raises:
        ValueError: there are fewer groups than the parts must get.
    """
    names, group_of = torch.unique(groups, return_inverse=True)
    if len(names) < sum(at_least):
        raise ValueError(f"{len(names)} groups cannot be divided into parts of at least {list(at_least)}")
    wanted = torch.tensor([*fractions, 1 - math.fsum(fractions)], dtype=torch.float64).clamp(min=0)
    counts = _Counts(group_of.numpy(), labels.numpy(), wanted.numpy())
    draw = SIZE_DRAW * torch.rand(len(names), dtype=torch.float64, generator=generator).numpy()
    missing = np.array(at_least)
    part_of = np.zeros(len(names), dtype=np.int64)
    for done, group in enumerate(np.argsort(-(np.log2(counts.sizes) + draw), kind="stable")):
        may = missing > 0 if missing.sum() == len(names) - done else wanted.numpy() > 1e-9
        part_of[group] = part = counts.give(int(group), may)
        missing[part] = max(0, missing[part] - 1)
    parts = torch.from_numpy(part_of)[group_of]
    return [torch.nonzero(parts == number).flatten() for number in range(len(wanted))]


class _Counts:
    """Images of each class that each part has and wants."""

    def __init__(self, group_of: Any, labels: Any, fractions: Any) -> None:
        order = np.argsort(group_of, kind="stable")
        self._labels = labels[order]
        self._bounds = np.searchsorted(group_of[order], np.arange(int(group_of.max()) + 2))
        self.sizes = np.diff(self._bounds)
        in_all = np.bincount(labels)
        self._wanted = np.maximum(fractions[:, None] * in_all, 1e-9)
        self._lacking = self._wanted.copy()

    def give(self, group: int, may: Any) -> int:
        """The part, of those that may, that the group fits best; its images are counted there."""
        classes, images = np.unique(self._labels[self._bounds[group] : self._bounds[group + 1]], return_counts=True)
        cost = (images * (images - 2 * self._lacking[:, classes]) / self._wanted[:, classes]).sum(1)
        part = int(np.argmin(np.where(may, cost, np.inf)))
        self._lacking[part, classes] -= images
        return part
