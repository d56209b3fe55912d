"""What may be drawn for a searched setting."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from dabo_ray.config.section import Section


class IntRange(Section):
    """Whole numbers from low to high, both included; `log: true` for equal ratios instead of equal steps."""

    bounds: Annotated[tuple[int, int], Field(strict=False, alias="int")]
    """`int: [low, high]`."""

    log: bool = False
    """Equal ratios are equally likely; needs low > 0."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_range(self.bounds, self.log)
        return self


class FloatRange(Section):
    """Numbers from low to high; `log: true` for equal ratios instead of equal steps."""

    bounds: Annotated[tuple[float, float], Field(strict=False, alias="float")]
    """`float: [low, high]`."""

    log: bool = False
    """Equal ratios are equally likely; needs low > 0."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_range(self.bounds, self.log)
        return self


class Choice(Section):
    """One of the given values."""

    values: Annotated[list[bool | int | float | str], Field(min_length=1, alias="choice")]
    """`choice: [...]`, each value once."""

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if len(set(map(repr, self.values))) < len(self.values):
            raise ValueError(f"{self.values} names a value twice; name each once")
        return self


def _check_range(bounds: tuple[float, float], log: bool) -> None:
    low, high = bounds
    if low > high:
        raise ValueError(f"the range [{low}, {high}] is empty; give [low, high]")
    if log and low <= 0:
        raise ValueError(f"log: true needs low > 0, got {low}")


def _kind_of_space(value: Any) -> str | None:
    if isinstance(value, dict):
        return next((kind for kind in ("int", "float", "choice") if kind in value), None)
    kinds: dict[type, str] = {IntRange: "int", FloatRange: "float", Choice: "choice"}
    return kinds.get(type(value))


Space = Annotated[
    Annotated[IntRange, Tag("int")] | Annotated[FloatRange, Tag("float")] | Annotated[Choice, Tag("choice")],
    Discriminator(_kind_of_space),
]
