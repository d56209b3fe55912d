"""The plan in words: its numbers follow from the study file."""

from __future__ import annotations

from typing import Any

import pytest

from dabo_ray.config.addresses import tracking_uri
from dabo_ray.config.describe import describe_plan
from dabo_ray.config.file import check_study


def lines(**sections: Any) -> dict[str, str]:
    study = check_study({"study": "s", "data": {"name": "digits"}} | sections, "here")
    text = describe_plan(study).splitlines()
    return {line.split()[0]: line for line in text}


def test_trials_add_up():
    plan = lines(
        classifier={"epochs": 7},
        baselines=["none", "flip", "affine"],
        search={"trials": 10},
        final={"top": 2, "seeds": 5},
    )
    assert plan["baselines"].split()[1] == "3"
    assert plan["search"].split()[1] == "10"
    assert plan["final"].split()[1] == "35"
    assert "48 trials, 336 epochs" in plan["in"]


def test_nothing_is_searched_for_no_arm():
    plan = lines(search={"trials": 10}, final={"top": 0, "seeds": 2})
    assert plan["search"].split()[1] == "0"
    assert "3 trials" in plan["in"]


def test_combinations_of_a_tuned_baseline_are_counted():
    tune = {"num_ops": {"int": [1, 3]}, "magnitude": {"choice": [5, 9]}}
    affine = {"name": "affine", "tune": {"translate": {"float": [0, 0.5], "steps": 3}}}
    plan = lines(
        classifier={"epochs": 7},
        baselines=["none", {"name": "randaugment", "tune": tune}, affine],
        final={"top": 0, "seeds": 2},
    )
    assert plan["baselines"].split(maxsplit=2)[1:] == ["10", "trials: none, randaugment, affine"]
    assert plan["randaugment:"].strip() == "randaugment: best of 6, num_ops 1 to 3; magnitude one of 5, 9"
    assert plan["affine:"].strip() == "affine: best of 3, translate 0 to 0.5, 3 values"
    assert plan["final"].split()[1] == "6"
    assert "16 trials, 112 epochs" in plan["in"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"int": [8, 2000000]}, "8 to 2000000"),
        ({"int": [8, 512], "log": True}, "8 to 512 (log)"),
        ({"choice": [8, 32]}, "one of 8, 32"),
    ],
)
def test_space(entry: dict[str, Any], words: str):
    plan = lines(search={"space": {"augmenter.hidden": entry}})
    assert plan["augmenter.hidden:"].strip() == f"augmenter.hidden: {words}"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": 0.5}, "learning rate 0.5, cosine to zero"),
        ({"schedule": "constant"}, "learning rate 0.1"),
        ({"schedule": "step"}, "learning rate 0.1, times 0.2 at 30 %, 60 %, 80 %"),
        (
            {"schedule": "step", "milestones": [0.125, 0.5], "decay": 0.1, "warmup_epochs": 3},
            "learning rate 0.1, times 0.1 at 12.5 %, 50 %, after 3 epochs of warm-up",
        ),
    ],
)
def test_step_sizes(settings: dict[str, Any], words: str):
    assert lines(classifier=settings)["training"].endswith(f"; {words}")


def test_base():
    base = ["flip", {"name": "crop", "padding": 2, "label": "small_crop"}]
    assert "hidden units, after flip, small_crop; inner_steps" in lines(augmenter={"base": base})["augmenter"]
    assert "after" not in lines()["augmenter"]


def test_data_and_shift():
    data = {"name": "digits", "num_labels": 200, "shift": {"rotation": 45, "translation": 0.1, "zoom_in": 0.5}}
    words = lines(data=data)["data"]
    assert "200 labelled images" in words and "turned by up to 45 degrees" in words and "moved by up to 0.1" in words
    assert "magnified 1 to 1.5 times" in words


def test_resources():
    assert "own process" in lines()["resources"]
    words = lines(resources={"workers": 4, "gpus_per_worker": 1, "concurrent_trials": 3})["resources"]
    assert "4 Ray Train" in words and "1 GPU" in words and "trials at once: 3" in words


def test_places():
    plan = lines(storage="/results")
    assert "/results/s/" in plan["results"]
    assert plan["MLflow"].endswith("sqlite:////results/mlflow.db")
    study = check_study({"study": "s", "data": {"name": "digits"}, "tracking": {"uri": "http://host:5000"}}, "here")
    assert tracking_uri(study) == "http://host:5000"
