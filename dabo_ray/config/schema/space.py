"""Search space: the values that a setting may be drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from dabo_ray.config.schema.section import Section

Reference = Annotated[str, Field(pattern=r"^[a-z_]+\.[a-z_]+$")]
"""Key path of another setting."""

Value = bool | int | float | str
Condition = dict[str, Value | list[Value]]


class Entry(Section):
    """What the kinds of entry share."""

    when: Condition = {}
    """Key path -> value or values: drawn only if each of these keys has one of them; otherwise the setting of the study
    file holds."""

    def is_drawn(self, values: Mapping[str, Any]) -> bool:
        """Whether the condition holds for these values of the keys that it names."""
        return all(
            values[key] in (allowed if isinstance(allowed, list) else [allowed]) for key, allowed in self.when.items()
        )


class Range(Entry):
    """What the two kinds of range share."""

    bounds: tuple[Any, Any]
    """Low and high: each a number, or the key path of one."""

    log: bool = False
    """Equal ratios are equally likely; needs low > 0."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        low, high = self.bounds
        if isinstance(low, str) and isinstance(high, str):
            raise ValueError(f"the range [{low}, {high}] has no number; give one of the ends as a number")
        if not isinstance(low, str) and not isinstance(high, str) and low > high:
            raise ValueError(f"the range [{low}, {high}] is empty; give [low, high]")
        if self.log and not isinstance(low, str) and low <= 0:
            raise ValueError(f"log: true needs low > 0, got {low}")
        return self

    def references(self) -> set[str]:
        """Key paths that must be known before this one is drawn."""
        return set(self.when) | {bound for bound in self.bounds if isinstance(bound, str)}


class IntRange(Range):
    """Whole numbers from low to high, both included; `log: true` for equal ratios instead of equal steps."""

    bounds: Annotated[tuple[int | Reference, int | Reference], Field(strict=False, alias="int")]
    """`int: [low, high]`; either may be the key path of another whole number, whose value then bounds this one."""

    def grid(self, low: float, high: float) -> Sequence[int]:
        """The values that a grid tries between these ends: all."""
        return range(int(low), int(high) + 1)


class FloatRange(Range):
    """Numbers from low to high; `log: true` for equal ratios instead of equal steps."""

    bounds: Annotated[tuple[float | Reference, float | Reference], Field(strict=False, alias="float")]
    """`float: [low, high]`; either may be the key path of another number, whose value then bounds this one."""

    steps: Annotated[int, Field(ge=2)] | None = None
    """Values that a grid tries, from low to high; other samplers draw any."""

    def grid(self, low: float, high: float) -> Sequence[float]:
        """The values that a grid tries between these ends: `steps` of them, both ends among them."""
        steps = self.steps or 2
        shares = [index / (steps - 1) for index in range(steps)]
        between = [low * (high / low) ** share if self.log else low + share * (high - low) for share in shares]
        # Rounding must not lead out of the range.
        return [low, *between[1:-1], high]


class Choice(Entry):
    """One of the given values."""

    values: Annotated[list[Value], Field(min_length=1, alias="choice")]
    """`choice: [...]`, each value once."""

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if len(set(map(repr, self.values))) < len(self.values):
            raise ValueError(f"{self.values} names a value twice; name each once")
        return self

    def references(self) -> set[str]:
        """Key paths that must be known before this one is drawn."""
        return set(self.when)


def _kind_of_space(value: Any) -> str | None:
    if isinstance(value, dict):
        return next((kind for kind in ("int", "float", "choice") if kind in value), None)
    kinds: dict[type, str] = {IntRange: "int", FloatRange: "float", Choice: "choice"}
    return kinds.get(type(value))


Space = Annotated[
    Annotated[IntRange, Tag("int")] | Annotated[FloatRange, Tag("float")] | Annotated[Choice, Tag("choice")],
    Discriminator(_kind_of_space),
]


def in_order(space: Mapping[str, IntRange | FloatRange | Choice]) -> list[str]:
    """The keys, each after those that it refers to.

    Raises:
        ValueError: keys refer to each other in a circle.
    """
    ordered: list[str] = []
    left = dict(space)
    while left:
        ready = [key for key, entry in left.items() if not entry.references() & left.keys()]
        if not ready:
            raise ValueError(f"{', '.join(left)} refer to each other in a circle")
        ordered += ready
        for key in ready:
            del left[key]
    return ordered
