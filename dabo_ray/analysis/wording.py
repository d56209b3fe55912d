"""Wording of durations, settings and reasons, in a few words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from dabo_ray.analysis.statistics import interval_95

# Terminal sequences and control characters, which the errors of worker processes bring along.
_UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x1f\x7f]")


def duration(seconds: float) -> str:
    """Seconds in the two units that matter: `8.2 s`, `3 min 12 s`, `2 h 5 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def mean_and_interval(score: Mapping[str, Any]) -> str:
    """The `test_score` of an arm of a summary: `97.56 (96.70 to 98.42)`, the mean alone without an interval."""
    interval = interval_95(score)
    return f"{score['mean']:.2f}" + ("" if interval is None else " ({:.2f} to {:.2f})".format(*interval))


def describe_settings(settings: Mapping[str, Any]) -> str:
    """Settings by the last part of their key, or the whole key where that is not unique: `inner_steps=4, lr=0.01`."""
    last_parts = Counter(key.rpartition(".")[2] for key in settings)

    def short(key: str) -> str:
        last = key.rpartition(".")[2]
        return last if last_parts[last] == 1 else key

    return ", ".join(f"{short(key)}={_value(value)}" for key, value in settings.items())


def key_under_arm(key: str) -> str:
    """A setting's key where the name of its arm stands above: a baseline's own ones do not say it again."""
    return key.rpartition(".")[2] if key.startswith("baselines.") else key


def one_line(text: str, limit: int = 200) -> str:
    """The text in one printable line of at most `limit` characters."""
    words = " ".join(_UNPRINTABLE.sub(" ", text).split())
    return words if len(words) <= limit else words[: limit - 3] + "..."


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
