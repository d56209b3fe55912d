"""Wording of messages about data."""

from __future__ import annotations

from collections.abc import Collection

from dabo_ray.data.images import DataError

SHOWN = 5
"""Names that a message lists."""


def listed(names: Collection[object]) -> str:
    """The first names in the order given, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(str, list(names)[:SHOWN])) + more


def unknown_classes(unknown: Collection[object], known: Collection[object], where: object) -> DataError:
    """That the test set has classes of its own; both in the order in which they are to be listed."""
    return DataError(
        f"{where}: {len(unknown)} classes of the test set have no image to train on: {listed(unknown)}; those of "
        f"the others are {listed(known)}. Add images, name them alike, or take them out"
    )
