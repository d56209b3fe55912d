"""Studies through Ray Tune on a local Ray, in place and on worker groups, with processes killed on the way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from dabo_ray.config.schema import ResourcesConfig, StudyConfig
from dabo_ray.execution import tune
from dabo_ray.planning.plan import Plan
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult
from tests.planning.fake_backend import COSTS

TRIAL_PROCESS = "ResourceTrainable|StudyTrial"
"""In the title of a trial's process: while it trains, Tune's name for it; its own otherwise."""

Heard = Callable[[Trial, Mapping[str, float]], None]


class Witness:
    """An observer that keeps what it is told.

    Args:
        on_epoch: called after each epoch, to cause trouble.
    """

    def __init__(self, on_epoch: Heard | None = None) -> None:
        self.on_epoch = on_epoch
        self.started: list[str] = []
        self.records: dict[str, list[dict[str, float]]] = {}
        self.ended: dict[str, TrialResult] = {}
        self.times: list[tuple[str, str, float]] = []

    def waiting(self, words: str) -> None:
        pass

    def cluster_changed(self, words: str) -> None:
        pass

    def trial_started(self, trial: Trial) -> None:
        self.times.append(("start", trial.name, time.monotonic()))
        self.started.append(trial.name)

    def epoch_ended(self, trial: Trial, metrics: Mapping[str, float]) -> None:
        self.records.setdefault(trial.name, []).append(dict(metrics))
        if self.on_epoch is not None:
            self.on_epoch(trial, metrics)

    def trial_ended(self, result: TrialResult) -> None:
        self.times.append(("end", result.trial.name, time.monotonic()))
        assert result.trial.name not in self.ended, "ended twice"
        self.ended[result.trial.name] = result

    def numbers(self) -> dict[str, list[dict[str, float]]]:
        """All records without their clock."""
        return {
            name: [{key: value for key, value in record.items() if key not in COSTS} for record in records]
            for name, records in self.records.items()
        }

    def outcomes(self) -> Counter[Outcome]:
        return Counter(result.outcome for result in self.ended.values())


def run(study: StudyConfig, folder: Path, on_epoch: Heard | None = None) -> Witness:
    """Runs a study to its end and looks that nothing is left of it in Ray."""
    folder.mkdir(parents=True)
    witness = Witness(on_epoch)
    execution = tune.StudyExecution(Plan(study, f"sqlite:///{folder / 'plan.db'}"), folder, [witness])
    heard = signal.getsignal(signal.SIGINT)
    tune.run(study, execution, tune.concurrent_trials(study.resources, {"CPU": 2.0}))
    assert signal.getsignal(signal.SIGINT) is heard
    assert sorted(witness.started) == sorted(witness.ended)
    assert states_of_placement_groups() <= {"REMOVED"}
    assert not list(folder.glob("trials/*/checkpoint*.pt")), "checkpoints of trials that have ended"
    assert not (folder / "tune").exists()
    return witness


def states_of_placement_groups() -> set[str]:
    """States, after Ray had time to remove those that a process left."""
    from ray.util import placement_group_table

    for _ in range(60):
        states = {group["state"] for group in placement_group_table().values()}
        if states <= {"REMOVED"}:
            break
        time.sleep(0.5)
    return states


@pytest.fixture
def ray_processes(processes_below) -> Callable[[str], list[int]]:
    """Finds the ids of Ray's processes by what is in their title, a pattern."""
    return lambda title: [
        p.pid for p in processes_below(os.getpid()) if p.title.startswith("ray::") and re.search(title, p.title)
    ]


class Killer:
    """Kills processes of Ray, each a moment after a trial has ended its third epoch, while it trains the next one.

    Args:
        find: ids of the processes whose title has a pattern.
        victims: trial -> pattern in the title of the process to kill.
    """

    def __init__(self, find: Callable[[str], list[int]], victims: Mapping[str, str]) -> None:
        self.find = find
        self.victims = dict(victims)
        self.killed: list[int] = []

    def __call__(self, trial: Trial, metrics: Mapping[str, float]) -> None:
        if metrics["epoch"] == 3:
            threading.Timer(0.05, self._kill, [self.victims.pop(trial.name, "")]).start()

    def _kill(self, title: str) -> None:
        if title and (found := self.find(title)):
            os.kill(found[-1], signal.SIGKILL)
            self.killed.append(found[-1])


# Without Ray


@pytest.mark.parametrize(
    ("resources", "cluster", "expected"),
    [
        ({}, {"CPU": 4.0}, 4),
        ({"cpus_per_worker": 3}, {"CPU": 8.0}, 2),
        ({"workers": 2, "cpus_per_worker": 2}, {"CPU": 8.0}, 2),
        ({"workers": 1, "gpus_per_worker": 0.5}, {"CPU": 8.0, "GPU": 1.0}, 2),
        ({"concurrent_trials": 7}, {"CPU": 1.0}, 7),
    ],
)
def test_how_many_trials_fit(resources, cluster, expected):
    assert tune.concurrent_trials(ResourcesConfig(**resources), cluster) == expected


def test_a_trial_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"a trial needs 4 CPUs and 2 GPUs .* has 8 CPUs and 0 GPUs; lower"):
        tune.concurrent_trials(ResourcesConfig(workers=2, cpus_per_worker=2, gpus_per_worker=1), {"CPU": 8.0})


def test_trials_find_the_data_from_the_folders_that_they_run_in(make_study, tmp_path, monkeypatch):
    """`data.root: data` is meant as seen from where the study was started."""
    monkeypatch.chdir(tmp_path)
    execution = tune.StudyExecution(Plan(make_study("data={name: cifar10, root: data}"), "sqlite://"), tmp_path, [])
    config = execution.suggest("a")
    assert isinstance(config, dict)
    assert StudyConfig.model_validate_json(config["study"]).data.root == str(tmp_path / "data")


def test_an_epoch_that_was_heard_before_is_passed_over(make_study, tmp_path):
    witness = Witness()
    execution = tune.StudyExecution(Plan(make_study(), "sqlite://"), tmp_path, [witness])
    config = execution.suggest("a")
    assert isinstance(config, dict)
    execution.epoch_ended("a", {"epoch": 1.0, "select_accuracy": 50.0})
    execution.epoch_ended("a", {"epoch": 1.0, "select_accuracy": 50.0})
    execution.epoch_ended("a", {})
    execution.trial_ended("a", Outcome.COMPLETE, "")
    assert [record["epoch"] for record in witness.records["baseline-none"]] == [1.0]
    assert witness.ended["baseline-none"].outcome is Outcome.COMPLETE


def test_a_fault_of_the_machine_is_tried_again_and_then_left(make_study, tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(tune.time, "monotonic", lambda: clock[0])
    witness = Witness()
    execution = tune.StudyExecution(Plan(make_study(), "sqlite://"), tmp_path, [witness])
    for number in range(1 + tune.RETRIES):
        assert isinstance(execution.suggest(f"t{number}"), dict)
        execution.epoch_ended(f"t{number}", {"epoch": 1.0, "select_accuracy": 50.0})
        execution.trial_ended(f"t{number}", Outcome.RUNNING, "a disk is full")
        if number < tune.RETRIES:
            assert execution.suggest("soon") is None
            assert not witness.ended
        clock[0] += tune.SECONDS_BEFORE_RETRY
    assert witness.started == ["baseline-none"] * (1 + tune.RETRIES)
    assert len(witness.records["baseline-none"]) == 1, "what was heard before is not told again"
    result = witness.ended["baseline-none"]
    assert (result.outcome, result.reason, result.metrics["epoch"]) == (Outcome.RUNNING, "a disk is full", 1.0)
    assert execution.plan.left == [result]
    assert isinstance(execution.suggest("next"), dict)
    assert witness.started[-1] == "search-0000"


@pytest.mark.parametrize(
    ("words", "outcome", "reason"),
    [
        ("The actor died unexpectedly", Outcome.RUNNING, "a process has ended, mostly because the machine is out of"),
        ('ray::T.train()\n  File "a.py", line 1, in step\nKeyError: 3', Outcome.FAIL, "KeyError: 3"),
        ('ray::T.train()\n  File "a.py", line 1\nOSError: No space left on device', Outcome.RUNNING, "a disk is full"),
    ],
)
def test_what_tune_gives_up_is_left_unless_the_error_is_its_own(make_study, tmp_path, words, outcome, reason):
    witness = Witness()
    execution = tune.StudyExecution(Plan(make_study(), "sqlite://"), tmp_path, [witness])
    execution.suggest("a")
    execution.process_lost("a", words)
    execution.trial_lost("a")
    result = witness.ended["baseline-none"]
    assert result.outcome is outcome
    assert result.reason.startswith(reason)


# With Ray

ONE_AT_A_TIME = "resources.concurrent_trials=1"
"""So that the search sees the same reports whatever the backend."""


@pytest.fixture(scope="module")
def local(local_ray, tiny_study, tmp_path_factory) -> Witness:
    """The tiny study, each trial in its own process."""
    return run(tiny_study(ONE_AT_A_TIME), tmp_path_factory.mktemp("local") / "study")


@pytest.mark.ray
def test_a_study_in_place(local):
    searches, finals = (
        ["search-0000", "search-0001"],
        ["final-none-seed-0", "final-learned-1-seed-0", "final-frozen-1-seed-0"],
    )
    assert list(local.records) == ["baseline-none", *searches, *finals]
    assert local.outcomes() == {Outcome.COMPLETE: 6}
    assert all([record["epoch"] for record in records] == [1, 2] for records in local.records.values())
    for name, result in local.ended.items():
        measured = "test_accuracy" if result.trial.phase is Phase.FINAL else "select_accuracy"
        assert result.metrics == local.records[name][-1]
        assert measured in result.metrics
    print_overheads("local", local)


@pytest.mark.ray
@pytest.mark.parametrize(("workers", "tolerance"), [(1, 1e-6), (2, 1e-4)])
def test_worker_groups_give_the_same_numbers(local, tiny_study, tmp_path, workers, tolerance):
    witness = run(tiny_study(ONE_AT_A_TIME, f"resources.workers={workers}"), tmp_path / "study")
    assert list(witness.records) == list(local.records)
    for name, records in local.numbers().items():
        for expected, record in zip(records, witness.numbers()[name], strict=True):
            assert record.keys() == expected.keys()
            for key, value in expected.items():
                # A mean over a small spread is only as exact as the difference of two squares.
                most = 10 * tolerance if key.startswith("hypergradient_snr") else tolerance
                assert record[key] == pytest.approx(value, rel=most, abs=most), (name, key)
    print_overheads(str(workers), witness)


def print_overheads(kind: str, witness: Witness) -> None:
    """What each trial takes beyond its own seconds, for people (pytest -s)."""
    starts = {name: at for what, name, at in witness.times if what == "start"}
    names = list(starts)
    over = [
        starts[later] - starts[name] - witness.ended[name].metrics["seconds"] for name, later in pairwise(names[1:])
    ]
    print(f"workers {kind}: overhead {[round(seconds, 2) for seconds in over]} s")


@pytest.mark.ray
def test_pruned_trials_leave_their_process_to_the_next(local_ray, make_study, tmp_path, ray_processes):
    processes: dict[str, int] = {}

    def note(trial: Trial, metrics: Mapping[str, float]) -> None:
        processes[trial.name] = ray_processes(TRIAL_PROCESS)[0]

    study = make_study(
        "search.trials=6",
        "classifier.epochs=4",
        "search.pruner={name: median, min_epochs: 1}",
        "search.space={classifier.lr: {choice: [0.1, 1.0e-6]}}",
        "resources.concurrent_trials=1",
    )
    witness = run(study, tmp_path / "study", note)
    pruned = [result for result in witness.ended.values() if result.outcome is Outcome.PRUNED]
    assert pruned
    assert all(result.trial.phase is Phase.SEARCH for result in pruned)
    for result in pruned:
        assert result.metrics["epoch"] == len(witness.records[result.trial.name]) < 4
        assert result.reason == f"median: behind its peers at epoch {result.metrics['epoch']:.0f}"
    assert len(set(processes.values())) == 1
    stored = Plan(study, f"sqlite:///{tmp_path / 'study' / 'plan.db'}").results()
    assert {r.trial.name for r in stored if r.outcome is Outcome.PRUNED} == {r.trial.name for r in pruned}


@pytest.mark.ray
def test_a_setting_that_diverges_does_not_stop_the_study(local_ray, make_study, tmp_path):
    study = make_study("search.trials=4", "search.space={classifier.lr: {choice: [0.1, 1.0e+6]}}")
    witness = run(study, tmp_path / "study")
    failed = [result for result in witness.ended.values() if result.outcome is Outcome.FAIL]
    assert failed
    assert all(result.trial.settings["classifier.lr"] == 1e6 for result in failed)
    assert all(
        result.reason.startswith(("diverged at epoch 1, step ", "diverged at epoch 2, step ")) for result in failed
    )
    assert witness.ended["final-learned-1-seed-0"].outcome is Outcome.COMPLETE


# Processes that are killed

LONG = (
    ONE_AT_A_TIME,
    "data.num_labels=null",
    "classifier={width: 8, epochs: 6, batch_size: 8, lr: 0.01}",
    "baselines=[none, flip]",
    "final.top=0",
)
"""Four trials of some seconds, so that there is time to kill something in the middle of an epoch."""


@pytest.fixture(scope="module")
def undisturbed(local_ray, tiny_study, tmp_path_factory) -> Witness:
    return run(tiny_study(*LONG), tmp_path_factory.mktemp("undisturbed") / "study")


KILLS = {
    "local": {"baseline-none": TRIAL_PROCESS, "final-none-seed-0": TRIAL_PROCESS},
    "1": {"baseline-none": "RayTrainWorker", "baseline-flip": TRIAL_PROCESS, "final-none-seed-0": "TrainController"},
    "2": {"baseline-none": "RayTrainWorker"},
}
"""Workers of a trial -> which process is killed in which trial."""


@pytest.mark.ray
@pytest.mark.parametrize("workers", KILLS)
def test_killed_processes_cost_no_epoch(undisturbed, tiny_study, tmp_path, ray_processes, workers):
    # Two workers add in another order, and rounding grows from step to step until an image is told otherwise.
    tolerance = 0.03 if workers == "2" else 1e-4
    killer = Killer(ray_processes, KILLS[workers])
    witness = run(tiny_study(*LONG, f"resources.workers={workers}"), tmp_path / "study", killer)
    assert len(killer.killed) == len(KILLS[workers]), "not all was killed"
    assert set(witness.outcomes()) == {Outcome.COMPLETE}, witness.ended
    assert set(witness.records) == set(undisturbed.records)
    for name, records in undisturbed.numbers().items():
        assert [record["epoch"] for record in witness.records[name]] == list(range(1, 7))
        for expected, record in zip(records, witness.numbers()[name], strict=True):
            assert record == pytest.approx(expected, rel=tolerance, abs=1e-4)


@pytest.mark.ray
def test_an_error_in_one_of_two_workers_fails_its_trial_alone(local_ray, make_study, tmp_path):
    def spoil(trial: Trial, metrics: Mapping[str, float]) -> None:
        if trial.name == "baseline-none" and metrics["epoch"] == 1:
            # Only the first worker writes; its peer knows nothing of what went wrong.
            records = StudyFolder(tmp_path / "study").trial(trial.name).records
            records.unlink()
            records.mkdir()

    study = make_study("classifier.epochs=10", "resources.workers=2", "search.trials=1")
    witness = run(study, tmp_path / "study", spoil)
    assert witness.ended["baseline-none"].outcome is Outcome.FAIL
    assert "records.json" in witness.ended["baseline-none"].reason
    assert witness.ended["search-0000"].outcome is Outcome.COMPLETE


LEAVER = """
import datetime, sys, time
import torch
from dabo_ray.execution.worker_group import WatchedWorkers
from dabo_ray.execution.worker import PeerLost
rank = int(sys.argv[1])
torch.distributed.init_process_group("gloo", init_method=sys.argv[2], rank=rank, world_size=2)
group = WatchedWorkers()
group.sum([torch.ones(3)])
if rank == 1:
    torch.distributed.destroy_process_group()
    time.sleep(60)
try:
    group.sum([torch.ones(3)])
except PeerLost:
    print("alone")
"""


@pytest.mark.ray
def test_a_worker_that_leaves_keeps_nobody_waiting(tmp_path):
    """Its process lives on, as those of Ray Train do until the last worker has ended."""
    command = [sys.executable, "-c", LEAVER]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    url = f"file://{tmp_path}/meeting"
    with subprocess.Popen([*command, "1", url], env=env) as leaver:
        try:
            stayer = subprocess.run(
                [*command, "0", url], env=env, capture_output=True, text=True, timeout=50, check=True
            )
            assert leaver.poll() is None
        finally:
            leaver.kill()
    assert stayer.stdout == "alone\n"
