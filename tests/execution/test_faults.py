"""What is left of a study whose driver is killed or interrupted, and that it can be gone on with."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EPOCHS = 12
OVERRIDES = (
    f"classifier.epochs={EPOCHS}",
    "data.num_labels=null",
    "search.trials=3",
    "resources.concurrent_trials=1",
)
TRIALS = ["baseline-none", "search-0000", "search-0001", "search-0002"]
TRIALS += ["final-none-seed-0", "final-learned-1-seed-0", "final-frozen-1-seed-0"]


def optuna_states(database: Path) -> Counter[str]:
    with sqlite3.connect(database) as connection:
        return Counter(state for (state,) in connection.execute("SELECT state FROM trials"))


def check_finished(command: Any) -> None:
    """Every trial once, whole, everywhere."""
    assert optuna_states(command.results / "plan.db") == {"COMPLETE": len(TRIALS)}
    summary = json.loads((command.results / "summary.json").read_text())
    assert {phase: counts["COMPLETE"] for phase, counts in summary["phases"].items()} == {
        "baselines": 1,
        "search": 3,
        "final": 3,
    }
    assert sum(sum(counts.values()) for counts in summary["phases"].values()) == len(TRIALS)
    assert {arm["name"] for arm in summary["arms"]} == {"none", "learned-1", "frozen-1"}
    parent, children = command.mlflow_runs()
    assert parent.info.status == "FINISHED"
    assert children == {name: ["FINISHED"] for name in TRIALS}
    for name in TRIALS:
        records = json.loads((command.results / "trials" / name / "records.json").read_text())
        assert [record["epoch"] for record in records] == list(range(1, EPOCHS + 1))


def wait_until_gone(pids: set[int], alive: Callable[[], set[int]]) -> set[int]:
    """Those of the processes that are still there after a while."""
    for _ in range(120):
        if not (left := pids & alive()):
            break
        time.sleep(0.5)
    return left


@pytest.fixture
def trainers_below(processes_below) -> Callable[[int], set[int]]:
    """Ids of a driver's processes but Ray's agents, which look every half minute whether they are still needed."""
    return lambda pid: {process.pid for process in processes_below(pid) if "Agent" not in process.title}


@pytest.fixture
def alive(processes_below) -> Callable[[], set[int]]:
    """Ids of all processes there are."""
    return lambda: {process.pid for process in processes_below(0)}


def test_driver_killed_twice(study_command, tmp_path, trainers_below, alive):
    command = study_command(tmp_path, *OVERRIDES)
    for number, path in enumerate(["trials/search-0001/records.json", "trials/final-none-seed-0/records.json"]):
        options = ["--resume"] if number else []
        with command.start(*options) as driver:
            command.wait_for(path, driver)
            if number == 0:
                refused = command.run("--resume")
                assert refused.returncode == 2
                assert "the study 'tiny' is being run by another process; wait for it or stop it" in refused.stderr
            below = trainers_below(driver.pid)
            driver.send_signal(signal.SIGKILL)
            assert driver.wait() == -signal.SIGKILL
            assert not wait_until_gone(below, alive), "processes that outlive their driver"
        assert optuna_states(command.results / "plan.db")["RUNNING"] == 1
    before = {name: folder_times(command.results / "trials" / name) for name in TRIALS[:2]}
    again = command.run("--resume")
    assert again.returncode == 0, again.stderr
    check_finished(command)
    assert before == {name: folder_times(command.results / "trials" / name) for name in TRIALS[:2]}, "trained again"


def folder_times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.parametrize("workers", ["local", "1"])
def test_ctrl_c(study_command, tmp_path, trainers_below, alive, workers):
    command = study_command(tmp_path, *OVERRIDES, f"resources.workers={workers}")
    with command.start() as driver:
        command.wait_for("trials/search-0001/records.json", driver)
        below = trainers_below(driver.pid)
        interrupted = time.monotonic()
        # A terminal signals the whole group, not the driver alone.
        os.killpg(driver.pid, signal.SIGINT)
        stdout, stderr = driver.communicate(timeout=200)
        print(f"Ctrl-C, workers {workers}: {time.monotonic() - interrupted:.1f} s to the end")
    assert driver.returncode == 130, stderr
    assert "Go on with:\n  python -m dabo_ray.study tiny.yaml --resume\n" in stdout
    assert "Traceback" not in stdout + stderr
    assert not wait_until_gone(below, alive), "processes that outlive their driver"
    parent, children = command.mlflow_runs()
    assert parent.info.status == "KILLED"
    assert children["search-0000"] == ["FINISHED"]
    assert children["search-0001"] == ["KILLED"]
    assert optuna_states(command.results / "plan.db") == {"COMPLETE": 2, "RUNNING": 1}
    assert (command.results / "report.html").exists()
    if workers == "local":
        again = command.run("--resume")
        assert again.returncode == 0, again.stderr
        check_finished(command)


def test_ctrl_c_at_any_time(study_command, tmp_path, trainers_below, alive):
    """While it imports, reads data, starts Ray: never a traceback, never a process left."""
    for number, seconds in enumerate([1.0, 5.0, 6.0]):
        command = study_command(tmp_path / str(number), *OVERRIDES)
        with command.start() as driver:
            time.sleep(seconds)
            below = trainers_below(driver.pid)
            os.killpg(driver.pid, signal.SIGINT)
            stdout, stderr = driver.communicate(timeout=200)
        assert driver.returncode == 130, f"after {seconds} s: {stdout}{stderr}"
        assert "Traceback" not in stdout + stderr
        assert not wait_until_gone(below, alive)


def test_terminated(study_command, tmp_path, trainers_below, alive):
    """`kill PID`, or a system that shuts down: as Ctrl-C."""
    command = study_command(tmp_path, *OVERRIDES)
    with command.start() as driver:
        command.wait_for("trials/search-0001/records.json", driver)
        below = trainers_below(driver.pid)
        driver.terminate()
        stdout, stderr = driver.communicate(timeout=200)
    assert driver.returncode == 130, stderr
    assert "Go on with:\n  python -m dabo_ray.study tiny.yaml --resume\n" in stdout
    assert not wait_until_gone(below, alive)
    assert optuna_states(command.results / "plan.db") == {"COMPLETE": 2, "RUNNING": 1}


def test_a_fault_that_hits_every_trial_ends_the_study(study_command, tmp_path):
    command = study_command(tmp_path, *OVERRIDES, "classifier.lr=1.0e+9", "classifier.schedule=constant")
    failed = command.run()
    assert failed.returncode == 1, failed.stderr
    words = " ".join(failed.stdout.split())
    assert "its first trials all failed. Reason: diverged at epoch 1, step " in words
    assert optuna_states(command.results / "plan.db") == {"FAIL": 3}
    parent, children = command.mlflow_runs()
    assert parent.info.status == "FAILED"
    assert set(map(tuple, children.values())) == {("FAILED",)}


def test_memory_pressure(study_command, tmp_path, monkeypatch):
    """Ray ends every process of a trial, as it does on a machine whose memory others have taken."""
    command = study_command(tmp_path, *OVERRIDES)
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.01")
    stopped = command.run()
    assert stopped.returncode == 1, stopped.stderr
    assert "Traceback" not in stopped.stdout + stopped.stderr
    words = " ".join(stopped.stdout.split())
    assert re.search(r"stopped by a fault of the machine.* had [\d.]+GB of [\d.]+GB in use", words)
    assert "lower resources.concurrent_trials or classifier.batch_size" in words
    assert "go on with: python -m dabo_ray.study tiny.yaml --resume" in words
    assert (command.results / "report.html").exists()
    assert set(optuna_states(command.results / "plan.db")) == {"RUNNING"}, "a verdict on a setting"
    monkeypatch.delenv("RAY_memory_usage_threshold")
    again = command.run("--resume")
    assert again.returncode == 0, again.stderr
    check_finished(command)


def test_processes_of_ray_itself_are_killed(study_command, tmp_path, processes_below):
    """Without a raylet Tune waits for ever; without a gcs_server Ray ends the driver after a minute."""
    command = study_command(tmp_path, *OVERRIDES)
    with command.start() as driver:
        for path, name in [("trials/search-0000/records.json", "raylet"), ("trials/search-0002", "gcs_server")]:
            command.wait_for(path, driver)
            (victim,) = (p.pid for p in processes_below(driver.pid) if p.title.split(" ")[0].endswith(f"/{name}"))
            os.kill(victim, signal.SIGKILL)
        _, stderr = driver.communicate(timeout=200)
    assert driver.returncode == 0, stderr
    for name in ("raylet", "gcs_server"):
        assert re.search(rf"Ray was stopped: .*its {name} \(process \d+\) has ended", stderr)
    check_finished(command)


def test_a_folder_that_cannot_be_written_to_in_the_final_phase(study_command, tmp_path):
    command = study_command(tmp_path, *OVERRIDES)
    gone = command.results / "trials" / "final-none-seed-0"
    gone.parent.mkdir(parents=True)
    # Where nobody can make a file, not even root.
    gone.symlink_to("/proc/sys")
    stopped = command.run()
    assert stopped.returncode == 1, stopped.stderr
    words = " ".join(stopped.stdout.split())
    assert "1 trial(s) were stopped by a fault of the machine, not of a setting: a file is gone (FileNotFound" in words
    assert "remove" not in words and "--resume" in words
    assert optuna_states(command.results / "plan.db") == {"COMPLETE": len(TRIALS) - 1, "RUNNING": 1}
    gone.unlink()
    again = command.run("--resume")
    assert again.returncode == 0, again.stderr
    check_finished(command)


def test_a_wrong_setting_names_itself_before_anything_is_written(study_command, tmp_path):
    command = study_command(tmp_path)
    refused: subprocess.CompletedProcess[str] = command.run("--set", "search.trials=0")
    assert refused.returncode == 2
    assert "search.trials" in refused.stderr
    assert not (tmp_path / "runs").exists()
