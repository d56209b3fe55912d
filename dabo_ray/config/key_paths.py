"""Key paths of a study file, such as `bilevel.inner_steps`, and what they lead to.

A baseline is found by its label, a step of a composition by its place: `baselines.affine.degrees`,
`baselines.both.steps.1.magnitude`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dabo_ray.config.errors import ConfigError, shown
from dabo_ray.config.schema import StudyConfig


def with_value(raw: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of nested sections with the value at a dotted path replaced.

    Raises:
        ConfigError: the path leads through a value that is not a section.
    """
    head, _, rest = path.partition(".")
    if not rest:
        return {**raw, head: value}
    inner = raw.get(head)
    if isinstance(inner, list) and head in ("baselines", "steps"):
        return {**raw, head: _with_value_in_one(head, inner, rest, value)}
    if inner is not None and not isinstance(inner, Mapping):
        raise ConfigError(f"{head!r} is {shown(inner)}, not a section that could have a key {rest!r}")
    if head == "space":
        return {**raw, head: {**(inner or {}), rest: value}}
    return {**raw, head: with_value(inner or {}, rest, value)}


def _with_value_in_one(head: str, steps: Sequence[Any], path: str, value: Any) -> list[Any]:
    """Baselines or steps with a setting of one of them replaced; a name alone becomes a section."""
    names = [str(place) if head == "steps" else _label(step) for place, step in enumerate(steps)]
    # A label may have dots, and begin with another label.
    found = max((name for name in names if path.startswith(f"{name}.")), key=len, default=None)
    if found is None:
        raise ConfigError(f"{head!r} has {', '.join(names)}, none of which could have a key {path!r}")
    place = names.index(found)
    step = steps[place]
    changed = with_value({"name": step} if isinstance(step, str) else step, path.removeprefix(f"{found}."), value)
    return [*steps[:place], changed, *steps[place + 1 :]]


def _label(step: Any) -> str:
    """What a baseline is called, as far as it can be told before it is checked."""
    return str(step.get("label") or step.get("name")) if isinstance(step, Mapping) else str(step)


def to_dict(study: StudyConfig) -> dict[str, Any]:
    """Every key with its value, defaults included, as `check_study` reads it back."""
    return study.model_dump(by_alias=True, mode="json")


def with_settings(study: StudyConfig, settings: Mapping[str, Any]) -> StudyConfig:
    """The study with the settings of one trial (key path -> value) in place of its own."""
    return StudyConfig.model_validate(with_settings_unchecked(study, settings))


def with_settings_unchecked(study: StudyConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of `with_settings`, whether they are allowed or not."""
    raw = to_dict(study)
    for path, value in settings.items():
        raw = with_value(raw, path, value)
    return raw
