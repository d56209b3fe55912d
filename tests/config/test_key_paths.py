"""Key paths through baselines, which are found by their labels."""

from __future__ import annotations

from typing import Any

import pytest

from dabo_ray.config.errors import ConfigError
from dabo_ray.config.key_paths import to_dict, with_settings, with_value
from dabo_ray.config.schema import StudyConfig

BASELINES: list[Any] = [
    "none",
    "affine",
    {"name": "affine", "label": "a"},
    {"name": "affine", "label": "a.b"},
    {"name": "compose", "label": "both", "steps": ["flip", {"name": "randaugment"}, "randaugment"]},
]
STUDY = StudyConfig.model_validate({"study": "s", "data": {"name": "digits"}, "baselines": BASELINES})


@pytest.mark.parametrize(
    ("path", "value", "label"),
    [
        ("baselines.affine.degrees", 5, "affine"),
        ("baselines.a.degrees", 5, "a"),
        ("baselines.a.b.degrees", 5, "a.b"),
        ("baselines.both.steps.0.vertical", True, "both"),
        ("baselines.both.steps.2.magnitude", 3, "both"),
    ],
)
def test_a_setting_of_one_baseline_changes_that_alone(path: str, value: Any, label: str):
    changed = with_settings(STUDY, {path: value})
    assert list(changed.arms) == list(STUDY.arms)
    assert [name for name in STUDY.arms if changed.arms[name] != STUDY.arms[name]] == [label]
    arm: Any = changed.arms[label]
    *_, place, key = path.split(".")
    assert getattr(arm.steps[int(place)] if label == "both" else arm, key) == value


def test_the_file_stays_as_it_was():
    before = to_dict(STUDY)
    with_settings(STUDY, {"baselines.both.steps.1.magnitude": 3, "baselines.affine.degrees": 5})
    assert to_dict(STUDY) == before


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (
            "baselines.crop.padding",
            "'baselines' has none, affine, a, a.b, both, none of which could have a key 'crop",
        ),
        ("baselines.1.degrees", "could have a key '1.degrees'"),
        ("baselines.both.steps.3.magnitude", "'steps' has 0, 1, 2, none of which could have a key '3.magnitude'"),
    ],
)
def test_paths_that_lead_nowhere(path: str, words: str):
    raw = to_dict(STUDY) | {"baselines": BASELINES}
    with pytest.raises(ConfigError) as caught:
        with_value(raw, path, 1)
    assert words in str(caught.value)
