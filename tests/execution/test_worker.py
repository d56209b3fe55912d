"""What a worker does with its orders, and the mailbox that they come from, on real but tiny training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dabo_ray.assembly import make_study_pools, make_training
from dabo_ray.bilevel.training import Training
from dabo_ray.config.key_paths import with_settings
from dabo_ray.config.schema import StudyConfig
from dabo_ray.execution import keepsakes, worker
from dabo_ray.execution.checkpoint import load_checkpoint
from dabo_ray.execution.worker import Order, Runner
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import Phase, Trial
from tests.fake_workers import OneOf
from tests.planning.fake_backend import COSTS

EPOCHS = 3


def trial_of(method: str = "learned", *, phase: Phase = Phase.SEARCH, **settings: Any) -> Trial:
    """A trial; double underscores in the names of settings stand for dots."""
    return Trial(
        name=f"{phase}-{method}",
        phase=phase,
        arm=method,
        method=method,
        seed=7,
        epochs=EPOCHS,
        settings={key.replace("__", "."): value for key, value in settings.items()},
    )


@pytest.fixture
def study(make_study: Callable[..., StudyConfig]) -> StudyConfig:
    return make_study("bilevel.truncation=3", "bilevel.inner_steps=2", "baselines=[none, affine, trivialaugment]")


@pytest.fixture
def order(study, tmp_path) -> Order:
    return Order(study, tmp_path / "study", trial_of(), 1)


def records_of(order: Order, epochs: range, runner: Runner | None = None) -> list[dict[str, float]]:
    """The records of these epochs without their clock."""
    runner = runner or Runner.alone()
    answers = [runner.answer(replace(order, epoch=epoch)) for epoch in epochs]
    assert not any(answer.failure for answer in answers), answers
    return [{key: value for key, value in a.record.items() if key not in COSTS} for a in answers]


def count_epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Epochs trained from now on."""
    trained: list[int] = []
    original = Training._train_one_epoch

    def counting(training: Any) -> Any:
        trained.append(training.epoch + 1)
        return original(training)

    monkeypatch.setattr(Training, "_train_one_epoch", counting)
    return trained


def test_a_combination_trains_as_the_baseline_with_these_settings(make_study, tmp_path):
    tuned = make_study("baselines=[{name: affine, tune: {degrees: {choice: [5, 45]}, translate: {choice: [0.2]}}}]")
    given = make_study("baselines=[{name: affine, degrees: 45, translate: 0.2}]")
    settings = {"baselines__affine__degrees": 45, "baselines__affine__translate": 0.2}
    trials = {"combination": (tuned, trial_of("affine", **settings)), "given": (given, trial_of("affine"))}
    records = [
        records_of(Order(study, tmp_path / name, trial, 1), range(1, 3)) for name, (study, trial) in trials.items()
    ]
    assert records[0] == records[1]
    others = records_of(Order(tuned, tmp_path / "as_in_the_file", trial_of("affine"), 1), range(1, 3))
    assert others != records[0]


@pytest.mark.parametrize("method", ["none", "learned", "random_augmenter"])
def test_brings_a_trial_to_an_epoch(order, method):
    order = replace(order, trial=trial_of(method))
    (record,) = records_of(order, range(2, 3))
    assert record["epoch"] == 2
    assert 0 <= record["select_accuracy"] <= 100
    assert "test_accuracy" not in record
    saved = load_checkpoint(StudyFolder(order.folder).trial(order.trial.name))
    assert saved is not None
    assert [r["epoch"] for r in saved[1]] == [1, 2]


def test_the_test_images_are_looked_at_once(order):
    records = records_of(replace(order, trial=trial_of(phase=Phase.FINAL)), range(1, EPOCHS + 1))
    assert ["test_accuracy" in record for record in records] == [False, False, True]
    assert not any("select_accuracy" in record for record in records)


def test_the_same_order_again_trains_nothing(order, monkeypatch):
    trained = count_epochs(monkeypatch)
    runner = Runner.alone()
    first = runner.answer(replace(order, epoch=2))
    assert runner.answer(replace(order, epoch=2)) == first
    assert Runner.alone().answer(replace(order, epoch=2)) == first
    assert trained == [1, 2]


@pytest.mark.parametrize("method", ["learned", "trivialaugment"])
@pytest.mark.parametrize("made", [1, 2])
def test_a_new_process_goes_on_exactly(order, tmp_path, made, method, monkeypatch):
    order = replace(order, trial=trial_of(method))
    whole = records_of(replace(order, folder=tmp_path / "whole"), range(1, EPOCHS + 1))
    records = records_of(order, range(1, made + 1))
    trained = count_epochs(monkeypatch)
    records += records_of(order, range(made + 1, EPOCHS + 1))
    assert records == whole
    assert trained == list(range(made + 1, EPOCHS + 1))


def test_goes_on_from_the_previous_checkpoint(order, tmp_path):
    whole = records_of(replace(order, folder=tmp_path / "whole"), range(1, EPOCHS + 1))
    records_of(order, range(1, 3))
    newest = order.folder / "trials" / order.trial.name / "checkpoint.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    assert records_of(order, range(2, EPOCHS + 1)) == whole[1:]


def test_the_same_trial_twice_in_one_process(order, tmp_path):
    """Nothing of a trial is left in a process that trains others in between."""
    runner = Runner.alone()
    first = records_of(order, range(1, EPOCHS + 1), runner)
    records_of(replace(order, trial=trial_of("affine")), range(1, 3), runner)
    again = records_of(replace(order, folder=tmp_path / "again"), range(1, EPOCHS + 1), runner)
    assert again == first


def test_settings_of_the_trial_count(order, tmp_path):
    learning = replace(order, trial=trial_of(bilevel__warmup_loss=None))
    other = replace(order, folder=tmp_path / "other", trial=trial_of(bilevel__warmup_loss=None, augmenter__lr=0.3))
    assert records_of(learning, range(1, 3)) != records_of(other, range(1, 3))


def test_divergence_is_an_answer(order):
    runner = Runner.alone()
    answer = runner.answer(replace(order, trial=trial_of("none", classifier__lr=1e12)))
    assert answer.failure.startswith("diverged at epoch 1, step ")
    assert not answer.renew
    assert all(math.isfinite(value) for value in answer.record.values())
    assert not runner.answer(order).failure, "the process is good for the next trial"


def test_a_process_killed_between_its_checkpoint_and_its_records_loses_none(order, monkeypatch):
    whole = replace(order, trial=replace(order.trial, epochs=1))
    folder = StudyFolder(order.folder).trial(order.trial.name)
    first = Runner.alone().answer(whole)
    kept = folder.records.read_text()
    folder.records.unlink()
    for name in (".records.json.17.tmp", ".checkpoint.pt.17.tmp", ".augmenter.safetensors.17.tmp"):
        (folder.path / name).write_bytes(b"half")
    assert Runner.alone().answer(whole).record == first.record
    assert folder.records.read_text() == kept
    assert not list(folder.path.glob(".*")), "left by the process that was killed"


def test_an_error_in_the_data_is_an_answer(order, monkeypatch):
    def broken(study: StudyConfig) -> Any:
        raise OSError("image 17 cannot be read\nand more lines")

    monkeypatch.setattr(worker, "make_study_pools", broken)
    answer = Runner.alone().answer(order)
    assert answer.failure == "OSError: image 17 cannot be read"
    assert answer.renew


def test_an_error_without_words_has_a_reason(order, monkeypatch):
    def broken(study: StudyConfig) -> Any:
        raise AssertionError

    monkeypatch.setattr(worker, "make_study_pools", broken)
    assert Runner.alone().answer(order).failure.startswith("AssertionError")


def test_a_failure_later_keeps_the_last_record(order, monkeypatch):
    runner = Runner.alone()
    runner.answer(replace(order, epoch=2))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker, "save_checkpoint", full)
    answer = runner.answer(replace(order, epoch=3))
    assert "No space left" in answer.failure
    # The third epoch was not saved, so it does not count.
    assert answer.record["epoch"] == 2


def test_after_a_failure_the_checkpoint_is_gone_on_with(order, tmp_path, monkeypatch):
    whole = records_of(replace(order, folder=tmp_path / "whole"), range(1, EPOCHS + 1))
    runner = Runner.alone()
    runner.answer(order)
    with monkeypatch.context() as patch:
        patch.setattr(worker, "save_checkpoint", lambda *_: 1 / 0)
        assert runner.answer(replace(order, epoch=2)).renew
    assert records_of(order, range(2, EPOCHS + 1), runner) == whole[1:]


@pytest.mark.parametrize("method", ["learned", "none"])
def test_a_picture_is_drawn_of_what_was_learned(order, method):
    from PIL import Image

    order = replace(order, trial=trial_of(method))
    runner = Runner.alone()
    runner.answer(replace(order, epoch=EPOCHS - 1))
    picture = StudyFolder(order.folder).trial(order.trial.name).samples
    assert not picture.exists()
    runner.answer(replace(order, epoch=EPOCHS))
    assert picture.exists() == (method == "learned")
    if picture.exists():
        assert Image.open(picture).size[0] > 100


def test_a_picture_that_could_not_be_drawn_is_drawn_later(order):
    """A process killed between its last checkpoint and the picture."""
    Runner.alone().answer(replace(order, epoch=EPOCHS))
    picture = StudyFolder(order.folder).trial(order.trial.name).samples
    picture.unlink()
    Runner.alone().answer(replace(order, epoch=EPOCHS))
    assert picture.exists()


def test_one_worker_of_two_leaves_the_writing_to_the_other(order):
    class Second(OneOf):
        def sum(self, tensors):
            return [2 * tensor for tensor in tensors]

    Runner(Second(1, 2), torch.device("cpu")).answer(order)
    assert not Path(order.folder, "trials").exists()


@pytest.mark.parametrize("method", ["stn", "adversarial"])
def test_what_baselines_learned_is_kept_too(order, method):
    trial = replace(trial_of(phase=Phase.FINAL), name=method, method=method)
    record = Runner.alone().answer(replace(order, trial=trial, epoch=EPOCHS)).record
    folder = StudyFolder(order.folder).trial(method)
    assert folder.samples.exists() and folder.augmenter.exists()
    assert {"rotation_spread_deg", "augmenter_gradient_norm", "test_accuracy"} <= record.keys()
    assert "outer_loss" not in record


def test_the_picture_shows_the_base_too(order, monkeypatch):
    """An augmenter that moves nothing leaves originals, and the same upside down."""
    base = [{"name": "flip", "vertical": True}]
    study = with_settings(order.study, {"augmenter.base": base, "augmenter.centre": "identity"})
    trial, pools = trial_of("stn"), make_study_pools(study)
    training = make_training(study, trial, pools)
    assert training.learner is not None
    still = training.learner.augmenter
    monkeypatch.setattr(still, "change", lambda images, decided: images)
    seen: list[Any] = []
    monkeypatch.setattr(keepsakes, "sample_grid", lambda *arguments: seen.extend(arguments))
    keepsakes.draw_samples(still, training, Path("unused"))
    before, after, _ = seen
    upright = [[(tile == original).all() for tile in row] for original, row in zip(before, after, strict=True)]
    turned = [[(tile == original[::-1]).all() for tile in row] for original, row in zip(before, after, strict=True)]
    assert (np.array(upright) | turned).all()
    assert 0.2 < np.array(turned).mean() < 0.8


def test_what_was_learned_is_frozen(order, tmp_path):
    """A frozen trial draws the very transformations that its origin would, and counts the seconds of learning."""
    online = replace(order, trial=trial_of(phase=Phase.FINAL, augmenter__hidden=16))
    runner = Runner.alone()
    learned_record = runner.answer(replace(online, epoch=EPOCHS)).record
    assert runner._training is not None and runner._training.learner is not None
    learned = runner._training.learner.augmenter
    trial = replace(online.trial, name="frozen", method="frozen", origin=online.trial.name)
    record = runner.answer(replace(online, trial=trial, epoch=EPOCHS)).record
    assert runner._training.learner is None
    augmentation = runner._training.augmentation
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    params = learned.draw(4, torch.Generator().manual_seed(3))
    assert torch.equal(augmentation(images, torch.Generator().manual_seed(3)), learned(images, *params))
    assert record["learning_seconds"] == learned_record["seconds"] < record["seconds"]
    assert "test_accuracy" in record and "outer_loss" not in record


def test_a_frozen_trial_trains_on_what_baselines_train_on(order):
    online = replace(order, trial=trial_of(phase=Phase.FINAL))
    fit = {}
    for method in ("learned", "frozen", "none"):
        trial = replace(trial_of(method, phase=Phase.FINAL), origin=online.trial.name)
        runner = Runner.alone()
        assert not runner.answer(replace(order, trial=trial, epoch=EPOCHS)).failure
        assert runner._training is not None
        fit[method] = runner._training.fit.images.images
    assert len(fit["learned"]) < len(fit["none"])
    assert torch.equal(fit["frozen"], fit["none"])


def test_a_frozen_trial_whose_origin_left_nothing_fails(order):
    trial = replace(trial_of("frozen", phase=Phase.FINAL), origin="nowhere")
    answer = Runner.alone().answer(replace(order, trial=trial))
    assert "No such file" in answer.failure
