"""What a baseline may be tuned by: everything that would be tried is checked before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from dabo_ray.config.errors import ConfigError
from dabo_ray.config.file import check_study
from dabo_ray.config.key_paths import to_dict
from dabo_ray.config.schema import StudyConfig
from dabo_ray.config.schema.baselines import combinations_of


def study_of(*baselines: Any) -> StudyConfig:
    return check_study({"study": "s", "data": {"name": "digits"}, "baselines": list(baselines)}, "here")


def problems_of(*baselines: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        study_of(*baselines)
    _, *lines = str(caught.value).splitlines()
    return dict(line.strip().split(": ", 1) for line in lines)


def test_every_combination_in_the_order_of_the_file():
    tune = {"num_ops": {"int": [1, 2]}, "magnitude": {"choice": [14, 5]}}
    study = study_of("none", {"name": "randaugment", "label": "ra", "tune": tune})
    assert study.settings_to_try("ra") == [
        {"baselines.ra.num_ops": num_ops, "baselines.ra.magnitude": magnitude}
        for num_ops in (1, 2)
        for magnitude in (14, 5)
    ]
    assert study.settings_to_try("none") == [{}]


def test_a_range_of_numbers_is_tried_in_equal_steps_or_ratios():
    even = study_of({"name": "affine", "tune": {"translate": {"float": [0, 0.5], "steps": 3}}}).arms["affine"]
    assert [values["translate"] for values in combinations_of(even)] == [0, 0.25, 0.5]
    log = study_of({"name": "mixup", "tune": {"alpha": {"float": [0.1, 10], "steps": 3, "log": True}}}).arms["mixup"]
    assert [values["alpha"] for values in combinations_of(log)] == pytest.approx([0.1, 1, 10])


def test_steps_of_a_composition_are_tuned_by_their_places():
    steps = ["flip", {"name": "randaugment", "tune": {"magnitude": {"choice": [5, 9]}}}]
    study = study_of({"name": "compose", "label": "both", "steps": steps})
    assert study.settings_to_try("both") == [{"baselines.both.steps.1.magnitude": value} for value in (5, 9)]


def randaugment(**tune: Any) -> dict[str, Any]:
    return {"name": "randaugment", "tune": tune}


@pytest.mark.parametrize(
    ("baseline", "path", "words"),
    [
        ({"name": "none", "tune": {"x": {"int": [1, 2]}}}, "baselines.0.tune", "unknown key"),
        ({"name": "stn", "tune": {}}, "baselines.0.tune", "unknown key"),
        (
            randaugment(magnitud={"int": [1, 2]}),
            "baselines.0.tune.magnitud",
            "mean magnitude? settings: num_ops",
        ),
        (randaugment(name={"choice": ["flip"]}), "baselines.0.tune.name", "not a setting of randaugment"),
        (randaugment(label={"choice": ["a"]}), "baselines.0.tune.label", "not a setting of randaugment"),
        (
            randaugment(magnitude={"int": [29, 31]}),
            "baselines.0.tune.magnitude",
            "may try magnitude 31 (a number); ",
        ),
        (
            randaugment(magnitude={"choice": ["x"]}),
            "baselines.0.tune.magnitude",
            "may try magnitude 'x' (text); ",
        ),
        (randaugment(magnitude={"float": [1, 3]}), "baselines.0.tune.magnitude", "add steps: NUMBER"),
        (randaugment(magnitude={"int": [1, 9], "log": True}), "baselines.0.tune.magnitude", "remove log"),
        (randaugment(magnitude={"int": [3, 1]}), "baselines.0.tune.magnitude", "the range [3, 1] is empty"),
        (randaugment(magnitude={"int": [0, 10**30]}), "baselines.0.tune.magnitude", "give at most 100"),
        (randaugment(magnitude={"int": [1, "bilevel.inner_steps"]}), "baselines.0.tune.magnitude", "another key"),
        (randaugment(magnitude={"choice": [1], "when": {"num_ops": 1}}), "baselines.0.tune.magnitude", "another key"),
        (randaugment(magnitude={"chioce": [1]}), "baselines.0.tune.magnitude", "{float: [low, high], steps: NUMBER}"),
        (randaugment(magnitude=5), "baselines.0.tune.magnitude", "got 5 (a number); give {int: [low, high]}"),
        ({"name": "randaugment", "tune": 5}, "baselines.0.tune", "give a section of settings, each with {int:"),
        (
            {
                "name": "augmix",
                "tune": {key: {"int": [1, 10]} for key in ("severity", "mixture_width", "chain_depth")}
                | {"alpha": {"choice": [1, 2]}},
            },
            "baselines",
            "has 2000 combinations to try for augmix; give 1000 at most",
        ),
        (
            {"name": "compose", "steps": ["flip", randaugment(num_ops={"choice": [0]})]},
            "baselines.0.steps.1.tune.num_ops",
            "from 1 to 14",
        ),
    ],
)
def test_what_cannot_be_tried_is_said(baseline: dict[str, Any], path: str, words: str):
    found = problems_of(baseline)
    assert found.keys() == {path}
    assert words in found[path]


def test_no_baseline_has_the_name_of_a_trial_of_another():
    found = problems_of(randaugment(num_ops={"int": [1, 2]}), {"name": "flip", "label": "randaugment-01"})
    assert found == {"baselines": "has the label randaugment-01, the name of a trial of randaugment; give another"}
    assert study_of("randaugment", {"name": "flip", "label": "randaugment-01"})


def test_a_tuned_study_reads_back():
    study = study_of(randaugment(num_ops={"int": [1, 2]}, magnitude={"choice": [1, 2]}))
    assert check_study(to_dict(study), "again") == study
