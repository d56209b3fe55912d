"""What a trial of a segmentation leaves in its folder, and that it goes on from its checkpoint as any other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dabo_ray.config.schema import StudyConfig
from dabo_ray.execution.worker import Order, Runner
from dabo_ray.reporting.samples import class_colours
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import Phase, Trial
from tests.planning.fake_backend import COSTS

EPOCHS = 2


@pytest.fixture
def study(make_study: Callable[..., StudyConfig]) -> StudyConfig:
    return make_study(
        "task=segmentation",
        "data={name: segmentation_digits, num_labels: 60, shift: {zoom_out: 0.3}}",
        "classifier={name: unet, width: 8, batch_size: 8}",
        "bilevel={truncation: 2, warmup_loss: null, warmup_fraction: 0.0}",
        "augmenter.name=affine",
        "baselines=[none]",
    )


def trial_of(method: str, phase: Phase) -> Trial:
    name = f"{phase}-{method}"
    return Trial(name=name, phase=phase, arm=method, method=method, seed=1, epochs=EPOCHS, score="mean_iou")


def records(order: Order, runners: list[Runner]) -> list[dict[str, float]]:
    """Of every epoch, each by the runner of its place."""
    answers = [runner.answer(replace(order, epoch=epoch)) for epoch, runner in enumerate(runners, 1)]
    assert not any(answer.failure for answer in answers), answers
    return [{key: value for key, value in a.record.items() if key not in COSTS} for a in answers]


def test_a_final_trial_keeps_its_predictions(study: StudyConfig, tmp_path: Path) -> None:
    trial = trial_of("learned", Phase.FINAL)
    runner = Runner.alone()
    *_, last = records(Order(study, tmp_path, trial, 1), [runner, runner])
    assert {"test_mean_iou", "test_mean_dice", "test_iou_0", "test_dice_0", "outer_loss"} <= last.keys()
    assert 0 < last["test_mean_iou"] <= last["test_mean_dice"] < 100
    folder = StudyFolder(tmp_path).trial(trial.name)
    assert folder.augmenter.exists() and folder.samples.exists()
    pixels = np.asarray(Image.open(folder.predictions).convert("RGB")).reshape(-1, 3)
    there = {tuple(colour) for colour in np.unique(pixels, axis=0).tolist()}
    # The masks have every class, in its colour, and what came from outside under the shift.
    colours = [tuple(colour) for colour in class_colours()[[0, 1, 2, 3, 4, 5, 255]].tolist()]
    assert {*colours} <= there and len({*colours}) == 7


@pytest.mark.parametrize("method", ["learned", "none"])
def test_a_search_trial_goes_on_in_another_process(study: StudyConfig, tmp_path: Path, method: str) -> None:
    trial = trial_of(method, Phase.SEARCH)
    runner = Runner.alone()
    through = records(Order(study, tmp_path / "one", trial, 1), [runner, runner])
    resumed = records(Order(study, tmp_path / "other", trial, 1), [Runner.alone(), Runner.alone()])
    assert resumed == through
    assert not StudyFolder(tmp_path / "one").trial(trial.name).predictions.exists()
