"""Pareto front of several objectives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

Item = TypeVar("Item")


def pareto_front(
    items: Iterable[Item], objective: Mapping[Any, str], measured: Callable[[Item], Mapping[Any, float]]
) -> list[Item]:
    """The items that no other is at least as good as in all objectives and better in one; in their order.

    Args:
        items: to compare.
        objective: `maximize` or `minimize`, by the name of the measure.
        measured: what an item has of each measure.
    """
    front: list[tuple[tuple[float, ...], Item]] = []
    for item in items:
        values = measured(item)
        point = tuple(values[name] * (1 if way == "maximize" else -1) for name, way in objective.items())
        front = [(other, kept) for other, kept in front if not _dominates(point, other)]
        if not any(_dominates(other, point) for other, _ in front):
            front.append((point, item))
    return [item for _, item in front]


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))
