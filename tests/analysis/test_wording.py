"""Durations, settings and reasons in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dabo_ray.analysis.wording import describe_settings, duration, key_under_arm, one_line


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"bilevel.inner_steps": 4, "augmenter.lr": 0.012345}, "inner_steps=4, lr=0.0123"),
        ({"classifier.lr": 0.1, "augmenter.lr": 1e-5}, "classifier.lr=0.1, augmenter.lr=1e-05"),
        ({}, ""),
    ],
)
def test_settings_are_named_shortly_but_not_ambiguously(settings: Mapping[str, Any], expected: str) -> None:
    assert describe_settings(settings) == expected


def test_a_baselines_own_settings_do_not_name_it_again() -> None:
    assert key_under_arm("baselines.randaugment-0.5.num_ops") == "num_ops"
    assert key_under_arm("bilevel.inner_steps") == "bilevel.inner_steps"


def test_durations_and_long_reasons() -> None:
    assert [duration(seconds) for seconds in (8.24, 59.96, 192, 7500)] == [
        "8.2 s",
        "1 min 0 s",
        "3 min 12 s",
        "2 h 5 min",
    ]
    assert one_line("a\n  b\t\x1b[1;31mc\x1b[0m") == "a b c"
    assert len(one_line("word " * 100)) == 200
