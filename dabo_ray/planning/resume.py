"""Resuming a study: settings that must be as they were, and those that may grow when it is extended."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from dabo_ray.config.errors import ConfigError
from dabo_ray.config.file import check_study
from dabo_ray.config.key_paths import to_dict, with_value
from dabo_ray.config.schema import StudyConfig

CHANGEABLE = ("resources.", "tracking.", "storage", "database", "data.root")
"""Keys that may differ when a study is gone on with: where it runs, not what it asks."""

GROWABLE = ("search.trials", "final.top", "final.seeds", "budget.")
"""Keys whose values may grow when a study is extended: how far it goes, not what its trials are."""


def flat(sections: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one level of key paths."""
    found: dict[str, Any] = {}
    for key, value in sections.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def digest(study: StudyConfig) -> str:
    """The same for studies whose trials belong together."""
    asked = {key: value for key, value in flat(to_dict(study)).items() if not key.startswith((*CHANGEABLE, *GROWABLE))}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def continued(before: StudyConfig, now: StudyConfig, extended: Iterable[str] = ()) -> StudyConfig:
    """The study to go on with: as it was, as far as it was extended then or is now.

    Args:
        before: as the study stands in its folder.
        now: as asked for.
        extended: keys that the user wants to grow.

    Raises:
        ConfigError: a setting that trials depend on differs, or one that may grow would shrink or was not asked to.
    """
    old, new = flat(to_dict(before)), flat(to_dict(now))
    extended = set(extended)
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    wrong = [key for key in changed if not key.startswith((*CHANGEABLE, *GROWABLE))]
    hint = "Put them back to go on, or use another name (--set study=NAME)"
    if not wrong:
        may_grow = [key for key in changed if key.startswith(GROWABLE) and key in old and key in new]
        wrong = [key for key in may_grow if not _may_change(key, old[key], new[key], is_extended=key in extended)]
        hint = "These may grow: say --extend KEY=VALUE with a value that is not less than before (null: no limit)"
    if wrong:
        lines = "\n".join(f"  {key}: was {old.get(key)!r}, is {new.get(key)!r}" for key in wrong)
        raise ConfigError(
            f"the study {now.study!r} was started with other settings, so its trials would not belong together:\n"
            f"{lines}\n{hint}"
        )
    sections = to_dict(now)
    for key in old.keys() & new.keys():
        if key.startswith(GROWABLE) and key not in extended:
            sections = with_value(sections, key, old[key])
    return check_study(sections, "the extended study")


def check_extensions(keys: Iterable[str]) -> None:
    """Refuses keys that cannot grow.

    Raises:
        ConfigError: naming them, and those that can.
    """
    wrong = [key for key in keys if not key.startswith(GROWABLE) or key == "budget.price_per_gpu_hour"]
    if wrong:
        raise ConfigError(
            f"--extend {', '.join(wrong)}: may not change in a study that was started; what may grow: search.trials, "
            "final.top, final.seeds, budget.trials, budget.wall_hours, budget.gpu_hours, budget.money"
        )


def _may_change(key: str, old: Any, new: Any, *, is_extended: bool) -> bool:
    """Whether a study can go on with another value of a key that may grow."""
    grows, shrinks = _size(key, new) > _size(key, old), _size(key, new) < _size(key, old)
    if is_extended:
        return not shrinks
    # A smaller value in the file is that of before an extension, and the larger one stands.
    return not grows


def _size(key: str, value: Any) -> float:
    return float("inf") if value is None and key.startswith("budget.") else float(value)
