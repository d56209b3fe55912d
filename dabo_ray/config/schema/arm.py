"""Base of all baselines of a study file, and the values tried for the settings of one that is tuned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from dabo_ray.config.schema.section import Section
from dabo_ray.config.schema.space import Choice, FloatRange, IntRange, Space, Value

MOST_VALUES = 100
"""Of one setting that are tried."""


class ArmConfig(Section):
    """A baseline with settings."""

    label: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] | None = None
    """Name of the arm in tables; null: the baseline's. Two of one kind need two labels."""

    @classmethod
    def settings(cls) -> list[str]:
        """The keys that say how it transforms images."""
        return [key for key in cls.model_fields if key not in ("name", "label", "tune")]


def _is_a_list_of_values(entry: IntRange | FloatRange | Choice) -> IntRange | FloatRange | Choice:
    """All that may be drawn is tried here, so what makes sense for a sampler alone is refused."""
    if entry.references():
        raise ValueError("refers to another key; here every combination of plain values is tried, without conditions")
    if isinstance(entry, FloatRange) and entry.steps is None:
        raise ValueError("all values are tried, so it must be known how many; add steps: NUMBER")
    if isinstance(entry, IntRange) and entry.log:
        raise ValueError(
            "all whole numbers of the range are tried; to have few, remove log and name them: choice: [...]"
        )
    if _count(entry) > MOST_VALUES:
        raise ValueError(f"has {_count(entry)} values to try, each of which is a training; give at most {MOST_VALUES}")
    return entry


def _count(entry: IntRange | FloatRange | Choice) -> int:
    if isinstance(entry, IntRange):
        low, high = entry.bounds
        return int(high) - int(low) + 1
    return len(entry.values) if isinstance(entry, Choice) else entry.steps or 0


ListOfValues = Annotated[Space, AfterValidator(_is_a_list_of_values)]


class TunableConfig(ArmConfig):
    """A baseline whose settings can be tuned, so that it has the same chance as the learned arm."""

    tune: dict[str, ListOfValues] = {}
    """Setting -> `{int: [low, high]}`, `{float: [low, high], steps: NUMBER}` or `{choice: [...]}`. Every combination is
    trained once, and the one with the best select score is compared in the end."""


def values_of(entry: IntRange | FloatRange | Choice) -> Sequence[Value]:
    """What is tried of an entry without references, in order."""
    return entry.values if isinstance(entry, Choice) else entry.grid(*entry.bounds)
