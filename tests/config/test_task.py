"""What goes with which task, and what a study is judged by."""

from __future__ import annotations

from typing import Any

import pytest

from dabo_ray.config.schema import StudyConfig
from dabo_ray.config.schema.search import SELECT
from dabo_ray.config.schema.task import SCORES
from dabo_ray.trials import SCORES as WORDS

SEGMENTATION: dict[str, Any] = {
    "study": "s",
    "task": "segmentation",
    "data": {"name": "segmentation_digits"},
    "classifier": {"name": "unet"},
}
CLASSIFICATION: dict[str, Any] = {"study": "s", "data": {"name": "digits"}}


def test_every_score_has_words() -> None:
    assert {f"{SELECT}{name}" for name in WORDS} == {name for names in SCORES.values() for name in names}


@pytest.mark.parametrize(
    ("base", "objective", "score"),
    [
        (CLASSIFICATION, None, "accuracy"),
        (CLASSIFICATION, {"select_macro_f1": "maximize", "seconds": "minimize"}, "macro_f1"),
        (SEGMENTATION, None, "mean_iou"),
        (SEGMENTATION, {"select_mean_dice": "maximize"}, "mean_dice"),
    ],
)
def test_what_a_study_is_judged_by(base: dict[str, Any], objective: dict[str, str] | None, score: str) -> None:
    study = StudyConfig.model_validate(base | {"search": {} if objective is None else {"objective": objective}})
    assert not study.contradictions() and study.score == score
    # As resolved and read again it is the same study.
    assert StudyConfig.model_validate_json(study.model_dump_json(by_alias=True)) == study


@pytest.mark.parametrize(
    ("base", "changes", "key", "words"),
    [
        (SEGMENTATION, {"data": {"name": "digits"}}, "data.name", "segmentation_digits or segmentation_folder"),
        (SEGMENTATION, {"classifier": {"name": "small_cnn"}}, "classifier.name", "give unet"),
        (CLASSIFICATION, {"data": {"name": "segmentation_digits"}}, "data.name", "set task"),
        (CLASSIFICATION, {"classifier": {"name": "unet"}}, "classifier.name", "set task"),
        (CLASSIFICATION, {"classifier": {"dice": 0.5}}, "classifier.dice", "remove it"),
        (
            SEGMENTATION,
            {"classifier": {"name": "unet", "label_smoothing": 0.1}},
            "classifier.label_smoothing",
            "remove",
        ),
        (SEGMENTATION, {"augmenter": {"conditioning": "class"}}, "augmenter.conditioning", "none or image"),
        (SEGMENTATION, {"baselines": ["none", "mixup"]}, "baselines", "mixup, which blends"),
        (SEGMENTATION, {"baselines": [{"name": "augmix", "label": "a"}]}, "baselines", "a, which blends"),
        (
            SEGMENTATION,
            {"baselines": [{"name": "compose", "steps": ["flip", "cutmix"], "label": "c"}]},
            "baselines",
            "c, which blends",
        ),
        (
            SEGMENTATION,
            {"search": {"objective": {"select_accuracy": "maximize"}}},
            "search.objective",
            "select_mean_iou",
        ),
        (CLASSIFICATION, {"search": {"objective": {"select_mean_iou": "maximize"}}}, "search.objective", "the task is"),
        (CLASSIFICATION, {"search": {"objective": {"seconds": "minimize"}}}, "search.objective", "must have one score"),
    ],
)
def test_what_does_not_go_with_the_task(base: dict[str, Any], changes: dict[str, Any], key: str, words: str) -> None:
    found = StudyConfig.model_validate(base | changes).contradictions()
    assert list(found) == [key] and words in found[key]
