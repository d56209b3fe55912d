"""What a study leaves in MLflow, in a real SQLite store, when all goes well and when it does not."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow.artifacts
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from PIL import Image

from dabo_ray.analysis.results import summarize
from dabo_ray.augment import export
from dabo_ray.augment.affine import AffineAugmenter
from dabo_ray.tracking import delivery
from dabo_ray.tracking.mlflow import Tracker
from dabo_ray.tracking.mlflow_store import MlflowStore
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store for all tests, made by ours in a folder that does not exist yet; shared, since that takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    made = MlflowStore(uri=f"sqlite:///{folder}/runs/mlflow.db", study="any", study_dir=folder, verbose=False)
    assert made.answers()
    return made.uri


@pytest.fixture
def study(request: pytest.FixtureRequest) -> str:
    """A study name for each test, so that each has its own experiment."""
    return str(request.node.name).replace("[", "-").rstrip("]")


def open_tracker(uri: str, study: str, study_dir: Path, **changes: Any) -> Tracker:
    settings: dict[str, Any] = {
        "uri": uri,
        "study": study,
        "study_dir": study_dir,
        "description": "**Does** it log?",
        "params": {"seed": 0, "classifier.lr": 0.1},
        "provenance": {"commit": "0123abc", "cpu": "a cpu"},
    }
    return Tracker(**{**settings, **changes})


def learned(number: int, epochs: int = 3) -> Trial:
    return Trial(
        name=f"search-{number:04d}",
        phase=Phase.SEARCH,
        arm="learned",
        method="learned",
        settings={"bilevel.inner_steps": number},
        seed=7,
        epochs=epochs,
    )


def record(epoch: int, **more: float) -> dict[str, float]:
    return {"epoch": epoch, "seconds": 0.5 * epoch, "train_loss": 1 / epoch, "select_accuracy": 90.0 + epoch, **more}


def final(seed: int, outer_loss: float, arm: str = "learned-1", **more: float) -> TrialResult:
    name = f"final-{arm}-seed-{seed}"
    trial = Trial(name=name, phase=Phase.FINAL, arm=arm, method="learned", seed=seed, epochs=1)
    return TrialResult(trial=trial, outcome=Outcome.COMPLETE, metrics=record(1, outer_loss=outer_loss, **more))


def train(tracker: Tracker, trial: Trial, epochs: range) -> None:
    tracker.trial_started(trial)
    for epoch in epochs:
        tracker.epoch_ended(trial, record(epoch))


def runs_of(store: str, study: str) -> tuple[Run, dict[str, Run]]:
    """The one parent run and its children by trial."""
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    (parent,) = [run for run in runs if run.data.tags.get("dabo_ray.role") == "parent"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(runs) == 1 + len(children)
    by_trial = {run.data.tags["dabo_ray.trial"]: run for run in children}
    assert len(by_trial) == len(children), "a trial has two runs"
    return parent, by_trial


def steps(store: str, run: Run, name: str = "train_loss") -> list[int]:
    return [metric.step for metric in MlflowClient(store).get_metric_history(run.info.run_id, name)]


def test_a_study_becomes_a_parent_run_with_a_run_per_trial(store: str, study: str, tmp_path: Path) -> None:
    outcomes = {Outcome.COMPLETE: "FINISHED", Outcome.PRUNED: "KILLED", Outcome.FAIL: "FAILED"}
    folder = tmp_path / "trials" / "search-0000"
    folder.mkdir(parents=True)
    Image.new("L", (40, 20), 128).save(folder / "samples.png")
    report = tmp_path / "report.html"
    report.write_text("<h1>Report</h1>")
    study_file = tmp_path / "study.yaml"
    study_file.write_text("database: postgresql://ada:s3cret@host/db\n")

    tracker = open_tracker(store, study, tmp_path)
    for number, outcome in enumerate(outcomes):
        train(tracker, learned(number), range(1, 4))
        reason = "" if outcome is Outcome.COMPLETE else f"because {outcome}"
        tracker.trial_ended(TrialResult(trial=learned(number), outcome=outcome, reason=reason, metrics=record(3)))
    final = Trial(name="final-none-seed-0", phase=Phase.FINAL, arm="none", method="none", seed=7, epochs=3)
    scored = TrialResult(trial=final, outcome=Outcome.COMPLETE, metrics={"test_accuracy": 70.0, "seconds": 2.0})
    tracker.finish([report, study_file], summarize(study, [scored], 60.5, {}))
    assert tracker.close(), tracker.lost

    client = MlflowClient(store)
    parent, trials = runs_of(store, study)
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == study
    assert parent.data.params == {"seed": "0", "classifier.lr": "0.1"}
    few = {name: value for name, value in parent.data.metrics.items() if not name.startswith("system/")}
    assert few == {"wall_seconds": 60.5, "test_accuracy/none": 70.0}
    answer, links, question, *_ = parent.data.tags["mlflow.note.content"].split("\n\n")
    assert (answer[:15], links[:19], question) == ("**No comparison", "[Arms side by side]", "**Does** it log?")
    assert parent.data.tags["dabo_ray.answer"].startswith("No comparison")
    assert parent.data.tags["provenance.cpu"] == "a cpu"
    assert parent.data.tags["mlflow.source.git.commit"] == "0123abc"
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["report.html", "study.yaml"]
    shown = mlflow.artifacts.load_text(f"{parent.info.artifact_uri}/study.yaml")
    assert shown == "database: postgresql://host/db\n"
    for number, (outcome, status) in enumerate(outcomes.items()):
        run = trials[f"search-{number:04d}"]
        assert run.info.status == status
        assert run.info.run_name == f"search-{number:04d}"
        assert run.info.start_time <= run.info.end_time
        tags = {name: run.data.tags[f"dabo_ray.{name}"] for name in ("phase", "arm", "method", "outcome")}
        assert tags == {"phase": "search", "arm": "learned", "method": "learned", "outcome": str(outcome)}
        told = "" if number == 0 else f"**{outcome}**: because {outcome}"
        assert run.data.tags.get("mlflow.note.content", "") == told
        assert run.data.tags.get("dabo_ray.reason", "") == ("" if number == 0 else f"because {outcome}")
        assert run.data.params == {"bilevel.inner_steps": str(number), "seed": "7", "epochs": "3"}
        assert steps(store, run) == [1, 2, 3]
        assert run.data.metrics["select_accuracy"] == 93.0
        assert "epoch" not in run.data.metrics
    pictures = [file.path for file in client.list_artifacts(trials["search-0000"].info.run_id, "images")]
    assert [Path(path).suffix for path in sorted(pictures)] == [".webp", ".png"]
    assert trials["search-0000"].data.tags["mlflow.loggedImages"] == "True"
    assert str(Path(store.removeprefix("sqlite:///")).parent) in parent.info.artifact_uri


def test_the_experiment_s_page_has_the_answer_and_opens_views_of_each_study(
    store: str, study: str, tmp_path: Path
) -> None:
    client = MlflowClient(store)
    settings: dict[str, dict[str, Any]] = {"first": {}, "second": {"search.space.augmenter.lr.when": {}}}
    for name, params in settings.items():
        tracker = open_tracker(store, study, tmp_path / name, params=params)
        tracker.finish([], summarize(study, [final(0, 0.9, test_accuracy=70.0)], 1.0, {}))
        assert tracker.close(), tracker.lost
        tags = client.get_experiment_by_name(study).tags
        views = {key.split(".")[-1]: json.loads(value)["name"] for key, value in tags.items() if "ViewState" in key}
        assert str(tracker.url).partition("viewStateShareKey=")[2].partition("&")[0] in views
        assert tags["mlflow.note.content"].startswith("[Arms side by side](#/experiments/")
        assert "No comparison: no baseline has been scored" in tags["mlflow.note.content"]
    assert sorted(view.split()[0] for view in views.values()) == ["Arms", "Arms", "Search"]
    assert "[Trials of the search]" in tags["mlflow.note.content"]


def test_the_images_of_every_role_are_inputs_of_the_study(store: str, study: str, tmp_path: Path) -> None:
    digests = []
    for seed in (0, 0, 1):
        provenance = {"dataset": "digits", "dataset_digest": "290be"}
        params = {"seed": seed, "data.name": "digits", "classifier.lr": 0.1}
        tracker = open_tracker(store, study, tmp_path / str(seed), params=params, provenance=provenance)
        assert tracker.close(), tracker.lost
        runs = MlflowClient(store).search_runs([MlflowClient(store).get_experiment_by_name(study).experiment_id])
        inputs = runs[0].inputs.dataset_inputs
        roles = {entry.tags[0].value: entry.dataset for entry in inputs}
        assert len(inputs) == len(roles)
        assert {role: images.name for role, images in roles.items()} == {
            role: f"digits {role}" for role in ("train", "outer", "select", "test")
        }
        digests.append(tuple(images.digest for images in roles.values()))
    # The same study is resumed; another seed is another split.
    assert len({*digests[0], *digests[2]}) == 8
    assert sorted(digests[0]) == sorted(digests[1])


def test_the_driver_s_machine_is_watched(
    store: str, study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dabo_ray.tracking.mlflow.SECONDS_BETWEEN_SYSTEM_METRICS", 0.0)
    tracker = open_tracker(store, study, tmp_path)
    train(tracker, learned(0), range(1, 3))
    assert tracker.close(), tracker.lost
    parent, trials = runs_of(store, study)
    watched = {name: value for name, value in parent.data.metrics.items() if name.startswith("system/")}
    assert 0 < watched["system/system_memory_usage_percentage"] < 100
    assert 0 <= watched["system/cpu_utilization_percentage"] <= 100
    assert steps(store, parent, "system/cpu_utilization_percentage") != []
    assert not any(name.startswith("system/") for name in trials["search-0000"].data.metrics)


def test_what_was_learned_becomes_models_that_load_without_this_package(store: str, study: str, tmp_path: Path) -> None:
    results = [final(0, 0.9), final(1, 0.2), final(0, 0.5, "learned-2")]
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 1, 16, 16, generator=generator)
    expected = {}
    for at, result in enumerate(results):
        augmenter = AffineAugmenter(hidden=4 + at)
        folder = tmp_path / "trials" / result.trial.name
        folder.mkdir(parents=True)
        export.save(augmenter, folder / "augmenter.safetensors")
        torch.manual_seed(1)
        expected[result.trial.name] = export.load(folder / "augmenter.safetensors")(images)
    for _ in range(2):  # a study that is resumed after its end makes no second version
        tracker = open_tracker(store, study, tmp_path)
        for result in results:
            tracker.trial_started(result.trial)
            tracker.trial_ended(result)
        tracker.finish([])
        assert tracker.close(), tracker.lost

    client = MlflowClient(store)
    _, trials = runs_of(store, study)
    for run in trials.values():
        assert "augmenter.safetensors" in [file.path for file in client.list_artifacts(run.info.run_id)]
    name = f"{study}-augmenter"
    versions = {v.tags["arm"]: v for v in client.search_model_versions(f"name = '{name}'")}
    assert len(client.search_model_versions(f"name = '{name}'")) == len(versions) == 2
    # Of its seeds the one that did best on the outer images.
    assert {arm: v.tags["trial"] for arm, v in versions.items()} == {
        "learned-1": "final-learned-1-seed-1",
        "learned-2": "final-learned-2-seed-0",
    }
    folder = client.download_artifacts(versions["learned-1"].run_id, "model")
    np.save(tmp_path / "images.npy", images.numpy())
    code = (
        "import sys, numpy, torch, mlflow\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "assert model.metadata.signature.inputs.inputs[0].shape == (-1, -1, -1, -1)\n"
        "assert model.input_example.shape == (2, 1, 32, 32)\n"
        "torch.manual_seed(1)\n"
        "numpy.save('augmented.npy', model.predict(numpy.load('images.npy')))\n"
        "import dabo_ray; print(dabo_ray.__file__)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code, folder], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith(folder), "the code comes with the model"
    np.testing.assert_array_equal(np.load(tmp_path / "augmented.npy"), expected["final-learned-1-seed-1"].numpy())


def test_a_resumed_study_goes_on_in_the_same_runs(store: str, study: str, tmp_path: Path) -> None:
    first = open_tracker(store, study, tmp_path)
    train(first, learned(0), range(1, 4))
    first.trial_ended(TrialResult(trial=learned(0), outcome=Outcome.COMPLETE, metrics=record(3)))
    train(first, learned(1, epochs=5), range(1, 3))
    first.finish([], status="KILLED")
    assert first.close()
    parent, trials = runs_of(store, study)
    assert (parent.info.status, trials["search-0001"].info.status) == ("KILLED", "KILLED")
    assert trials["search-0001"].data.tags["dabo_ray.outcome"] == "INTERRUPTED"
    ended_at = trials["search-0000"].info.end_time

    # Epoch 3 was trained, but the driver died before it could log it; epoch 2 is trained again.
    folder = tmp_path / "trials" / "search-0001"
    folder.mkdir(parents=True)
    (folder / "records.json").write_text(json.dumps([record(epoch) for epoch in range(1, 6)]))
    second = open_tracker(store, study, tmp_path, params={"seed": 0, "classifier.lr": 0.5, "search.trials": 9})
    second.trial_ended(TrialResult(trial=learned(0), outcome=Outcome.COMPLETE, metrics=record(3)))
    train(second, learned(1, epochs=5), range(2, 3))
    train(second, learned(1, epochs=5), range(4, 6))
    second.trial_ended(TrialResult(trial=learned(1, epochs=5), outcome=Outcome.COMPLETE, metrics=record(5)))
    second.finish([])
    assert second.close(), second.lost

    again, trials = runs_of(store, study)
    assert (again.info.run_id, again.info.status) == (parent.info.run_id, "FINISHED")
    assert again.data.params == {"seed": "0", "classifier.lr": "0.1", "search.trials": "9"}
    assert sorted(trials) == ["search-0000", "search-0001"]
    assert steps(store, trials["search-0000"]) == [1, 2, 3]
    assert trials["search-0000"].info.end_time == ended_at
    assert sorted(steps(store, trials["search-0001"])) == [1, 2, 3, 4, 5]
    assert trials["search-0001"].info.status == "FINISHED"
    assert trials["search-0001"].data.tags["dabo_ray.reason"] == ""
    assert trials["search-0001"].data.tags["dabo_ray.outcome"] == "COMPLETE"


def test_a_new_study_of_the_same_name_gets_its_own_runs(store: str, study: str, tmp_path: Path) -> None:
    for folder in (tmp_path / "first", tmp_path / "second"):
        tracker = open_tracker(store, study, folder)
        train(tracker, learned(0), range(1, 2))
        assert tracker.close()
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 4
    assert {run.info.status for run in runs} == {"KILLED"}, "close() without finish() leaves nothing open"


def test_limits_of_mlflow_are_kept(store: str, study: str, tmp_path: Path) -> None:
    params = {f"key.{number}": number for number in range(250)} | {"long": "x" * 7000, "k" * 300: 1}
    tracker = open_tracker(store, study, tmp_path, params=params, provenance={"long": "y" * 9000})
    trial = learned(0)
    tracker.trial_started(trial)
    tracker.epoch_ended(trial, record(1, outer_loss=float("inf"), hypergradient_norm=float("nan")))
    tracker.trial_ended(TrialResult(trial=trial, outcome=Outcome.FAIL, reason="z" * 9000))
    assert tracker.close(), tracker.lost
    parent, trials = runs_of(store, study)
    assert len(parent.data.params) == 252
    assert len(parent.data.params["long"]) == 6000
    assert len(parent.data.tags["provenance.long"]) == 8000
    assert trials["search-0000"].data.tags["dabo_ray.reason"].endswith("z...")
    assert "outer_loss" not in trials["search-0000"].data.metrics


def test_no_secret_reaches_the_store(store: str, study: str, tmp_path: Path) -> None:
    params = {"tracking.uri": "postgresql://ada:s3cret@db/mlflow"}
    tracker = open_tracker(store, study, tmp_path, params=params, provenance={"command": "run --set x=http://a:b@c/"})
    assert tracker.close(), tracker.lost
    parent, _ = runs_of(store, study)
    assert parent.data.params == {"tracking.uri": "postgresql://db/mlflow"}
    assert parent.data.tags["provenance.command"] == "run --set x=http://c/"


def test_broken_files_of_a_trial_cost_only_themselves(store: str, study: str, tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "search-0000"
    folder.mkdir(parents=True)
    (folder / "records.json").write_text('[{"epoch": 1, "sec')
    (folder / "samples.png").write_bytes(b"no picture")
    tracker = open_tracker(store, study, tmp_path)
    train(tracker, learned(0), range(1, 3))
    tracker.trial_ended(TrialResult(trial=learned(0), outcome=Outcome.PRUNED, reason="slow", metrics=record(3)))
    tracker.finish([])
    assert not tracker.close()
    assert [name.split(":")[0] for name in tracker.lost] == [
        "missed epochs of search-0000",
        "the picture of search-0000",
    ]
    _, trials = runs_of(store, study)
    assert trials["search-0000"].data.tags["dabo_ray.outcome"] == "PRUNED"
    assert steps(store, trials["search-0000"]) == [1, 2, 3]


def test_a_refused_record_is_named_and_the_rest_is_logged(
    store: str, study: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = open_tracker(store, study, tmp_path)
    with caplog.at_level(logging.WARNING, logger="dabo_ray"):
        tracker.finish([tmp_path / "missing.html", tmp_path / "missing.csv"], summarize(study, [], 1.0, {}))
        assert not tracker.close()
    assert [name.split(":")[0] for name in tracker.lost] == ["missing.html", "missing.csv"]
    assert len([entry for entry in caplog.records if entry.name == "dabo_ray"]) == 1
    parent, _ = runs_of(store, study)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics == {"wall_seconds": 1.0}


def test_a_store_out_of_reach_neither_stalls_nor_stops_the_study(
    study: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, logger="dabo_ray"):
        tracker = open_tracker("http://ada:s3cret@127.0.0.1:9", study, tmp_path)
        for number in range(20):
            train(tracker, learned(number), range(1, 4))
            tracker.trial_ended(TrialResult(trial=learned(number), outcome=Outcome.COMPLETE, metrics=record(3)))
        tracker.finish([])
        assert time.monotonic() - start < 0.5
        assert not tracker.close()
    assert time.monotonic() - start < 20
    assert "162 records, from the parent run on" in tracker.lost[0]
    warnings = [entry.getMessage() for entry in caplog.records if entry.name == "dabo_ray"]
    assert len(warnings) == 1
    assert "s3cret" not in warnings[0] + "".join(tracker.lost)


def test_a_store_that_comes_back_gets_everything(
    store: str, study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of the database is a file at first, which no store can be opened in."""
    monkeypatch.setattr("dabo_ray.tracking.delivery.SECONDS_BETWEEN_TRIES", 0.2)
    folder = tmp_path / "runs"
    folder.write_text("in the way")
    tracker = open_tracker(f"sqlite:///{folder}/mlflow.db", study, tmp_path / "study")
    train(tracker, learned(0), range(1, 4))
    time.sleep(1)
    folder.unlink()
    # A store that exists already, since creating one takes seconds.
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(Path(store.removeprefix("sqlite:///")).read_bytes())
    tracker.trial_ended(TrialResult(trial=learned(0), outcome=Outcome.COMPLETE, metrics=record(3)))
    tracker.finish([])
    assert tracker.close(), tracker.lost
    _, trials = runs_of(f"sqlite:///{folder}/mlflow.db", study)
    assert steps(f"sqlite:///{folder}/mlflow.db", trials["search-0000"]) == [1, 2, 3]


def test_first_openings_of_a_database_take_turns(study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow makes its tables while a client is made; two at once failed with `table experiments already exists`."""
    inside, together = 0, 0

    class SlowClient:
        def __init__(self, **_: str) -> None:
            nonlocal inside, together
            inside += 1
            together = max(together, inside)
            time.sleep(0.2)
            inside -= 1

    monkeypatch.setattr("mlflow.MlflowClient", SlowClient)
    uri = f"sqlite:///{tmp_path}/runs/mlflow.db"
    stores = [MlflowStore(uri=uri, study=study, study_dir=tmp_path, verbose=False) for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        clients = list(threads.map(lambda store: store.client, stores))
    assert len({id(client) for client in clients}) == 3
    assert together == 1


def test_importing_the_tracker_does_not_import_mlflow() -> None:
    code = "import sys, dabo_ray.tracking.mlflow; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("answer", ["lost", "late"])
def test_an_answer_that_a_server_owes_makes_no_second_run(
    store: str, study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """Every request for a run fails once: it was carried out already, or will be after the next one."""
    create, owed = MlflowClient.create_run, {}

    def create_run(client: MlflowClient, *arguments: Any, run_name: str, **options: Any) -> Run:
        if run_name not in owed:
            owed[run_name] = lambda: create(client, *arguments, run_name=run_name, **options)
            if answer == "lost":
                owed[run_name]()
            raise MlflowException("Max retries exceeded with url: /api/runs/create (too many 502 error responses)")
        run = create(client, *arguments, run_name=run_name, **options)
        owed[run_name]()
        return run

    monkeypatch.setattr(MlflowClient, "create_run", create_run)
    monkeypatch.setattr(delivery, "SECONDS_BETWEEN_PASSING", 0.0)
    tracker = open_tracker(store, study, tmp_path)
    train(tracker, learned(0), range(1, 4))
    tracker.trial_ended(TrialResult(trial=learned(0), outcome=Outcome.COMPLETE, metrics=record(3)))
    train(tracker, learned(1), range(1, 2))
    tracker.finish((), status="FINISHED")
    assert tracker.close(), tracker.lost
    assert len(owed) == 3
    parent, trials = runs_of(store, study)
    assert (parent.info.status, {name: run.info.status for name, run in trials.items()}) == (
        "FINISHED",
        {"search-0000": "FINISHED", "search-0001": "KILLED"},
    )
    assert steps(store, trials["search-0000"]) == [1, 2, 3]
