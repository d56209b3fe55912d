"""A study outlives the Ray that it runs on. Without Ray: what Tune raises is raised here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray.exceptions import NodeDiedError, OutOfMemoryError
from sqlalchemy.exc import OperationalError

from dabo_ray.config.schema import StudyConfig
from dabo_ray.execution import tune
from dabo_ray.execution.restarts import run_with_restarts
from dabo_ray.planning.plan import Plan
from dabo_ray.trials import Outcome

WORDS = """1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 192.0.2.2, ID: a7d0) \
was 3.92GB used / 23.54GB limit (0.166672)
OOM kill reason: Memory usage 4122112000B exceeded threshold"""


def out_of_memory() -> RuntimeError:
    """As Tune raises it out of `fit`."""
    error = RuntimeError("Caught unexpected exception")
    error.__cause__ = OutOfMemoryError(WORDS)
    return error


class Runs:
    """Stands in for `tune.run`; each run hears of some epochs, and then raises or brings the study to its end."""

    def __init__(self, *runs: tuple[int, Exception | None]) -> None:
        self.left = list(runs)
        self.concurrent: list[int] = []
        self.begun: list[str] = []

    def __call__(self, study: StudyConfig, execution: tune.StudyExecution, concurrent: int) -> None:
        self.concurrent.append(concurrent)
        epochs, error = self.left.pop(0)
        while isinstance(execution.suggest(f"{len(self.left)}"), dict):
            trial = execution._trials[f"{len(self.left)}"]
            self.begun.append(trial.name)
            if epochs:
                execution.epoch_ended(f"{len(self.left)}", {"epoch": 1.0, "select_accuracy": 50.0, "seconds": 1.0})
            if error is not None:
                raise error
            metrics = {"epoch": 2.0, "select_accuracy": 50.0, "test_accuracy": 50.0, "seconds": 2.0}
            execution.epoch_ended(f"{len(self.left)}", metrics)
            execution.trial_ended(f"{len(self.left)}", Outcome.COMPLETE, "")


@pytest.fixture
def execution(make_study: Callable[..., StudyConfig], tmp_path: Path, monkeypatch) -> tune.StudyExecution:
    monkeypatch.setattr(tune, "SECONDS_BEFORE_RETRY", 0.0)
    return tune.StudyExecution(Plan(make_study("resources.concurrent_trials=4"), "sqlite://"), tmp_path, [])


def carry_out(execution: tune.StudyExecution, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs the study; how often Ray was started."""
    starts = []

    @contextmanager
    def connected() -> Iterator[Mapping[str, float]]:
        starts.append(1)
        yield {"CPU": 8.0}

    monkeypatch.setattr(tune, "run", runs)
    run_with_restarts(execution.plan.study, execution, connected)
    assert not execution.plan.running
    return len(starts)


def test_ray_is_started_again_with_fewer_trials_at_once(execution, monkeypatch, caplog):
    runs = Runs((1, out_of_memory()), (1, NodeDiedError("a node is dead")), (1, None))
    assert carry_out(execution, runs, monkeypatch) == 3
    assert runs.concurrent == [4, 2, 2]
    assert runs.begun[:3] == ["baseline-none"] * 3, "what was running goes on first"
    assert execution.plan.is_done and not execution.plan.left
    assert "node 192.0.2.2 had 3.92GB of 23.54GB in use" in caplog.text
    assert "trials go on from their checkpoints, at most 2 at a time" in caplog.text


def test_a_trial_that_ends_ray_again_and_again_is_left_and_the_study_goes_on(execution, monkeypatch):
    runs = Runs(*[(1, out_of_memory())] * 3, (1, None))
    # Each start trains an epoch that was not heard of before.
    epochs = iter(range(1, 100))
    monkeypatch.setattr(execution, "epoch_ended", lambda *_: setattr(execution, "num_epochs", next(epochs)))
    carry_out(execution, runs, monkeypatch)
    assert [result.trial.name for result in execution.plan.left] == ["baseline-none"]
    assert "resources.concurrent_trials" in execution.plan.left[0].reason


def test_without_an_epoch_between_the_study_stops(execution, monkeypatch):
    runs = Runs(*[(0, NodeDiedError("a node is dead"))] * 5)
    with pytest.raises(NodeDiedError):
        carry_out(execution, runs, monkeypatch)
    assert len(runs.left) == 5 - 1 - tune.RETRIES


def test_a_plan_that_cannot_be_written_stops_the_study_too(execution, monkeypatch):
    full = OperationalError("INSERT", {}, Exception("database or disk is full"))
    monkeypatch.setattr(execution.plan._store, "report", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(OperationalError):
        carry_out(execution, Runs(*[(1, None)] * 5), monkeypatch)


def test_an_error_in_the_program_is_no_fault_of_the_machine(execution, monkeypatch):
    with pytest.raises(KeyError):
        carry_out(execution, Runs((0, KeyError("lr"))), monkeypatch)
