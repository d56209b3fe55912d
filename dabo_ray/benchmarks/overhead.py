"""Overhead of a study beside its training: seconds per trial, and until the first epoch."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dabo_ray.benchmarks.measure import (
    BenchmarkOptions,
    BenchmarkResult,
    PerformanceBudget,
    environment_restored,
    rows_of,
)
from dabo_ray.config.file import to_yaml
from dabo_ray.config.schema import ResourcesConfig, StudyConfig
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import Phase, Trial

MOST_PER_TRIAL = 1.5
MOST_FOR_A_GROUP = 45.0
WORKERS: tuple[int | str, ...] = ("local", 1)


@dataclass(frozen=True)
class StudyTimings:
    """Moments at which the trials of a study ended, one after the other, and how long they trained."""

    started: float
    """Of the command; seconds since 1970, as all moments here."""

    ends: Sequence[float]
    """Moments at which the trials had trained, in order."""

    seconds: Sequence[float]
    """Training of each trial."""

    first_epoch: float
    """Seconds of the first epoch of the first trial."""

    def per_trial(self) -> list[float]:
        """Seconds without training, from the end of one trial's training to that of the next; of all but the first."""
        between = (later - earlier for earlier, later in zip(self.ends, self.ends[1:], strict=False))
        return [passed - trained for passed, trained in zip(between, self.seconds[1:], strict=True)]

    def until_first_epoch(self) -> float:
        """Seconds from the start of the command to the end of the first epoch."""
        return self.ends[0] - self.seconds[0] + self.first_epoch - self.started


def run(options: BenchmarkOptions) -> BenchmarkResult:
    """Runs a tiny study on digits for each way to train, with so many trials of a search as there are repeats."""
    with tempfile.TemporaryDirectory(prefix="dabo-ray-bench-") as folder:
        timings = {}
        for workers in WORKERS:
            options.show_progress(f"a study of {options.repeats} trials, workers {workers}")
            timings[workers] = run_study(tiny_study(workers, options.repeats), Path(folder))
        options.show_progress("start of a worker group")
        group = seconds_to_start_a_group(tiny_study(1, 1), Path(folder) / "group")
    trials = {f"a trial, workers {workers}": timing.per_trial() for workers, timing in timings.items()}
    starts = {
        f"start to first epoch, workers {workers}": [timing.until_first_epoch()] for workers, timing in timings.items()
    }
    starts["start of a worker group"] = [group]
    budgets = [PerformanceBudget(name, statistics.median(seconds), MOST_PER_TRIAL) for name, seconds in trials.items()]
    budgets.append(PerformanceBudget("start of a worker group", group, MOST_FOR_A_GROUP))
    rows = [*rows_of(trials, next(iter(trials)), "seconds"), *rows_of(starts, next(iter(starts)), "seconds")]
    return BenchmarkResult("overhead", rows, budgets)


def tiny_study(workers: int | str, trials: int) -> StudyConfig:
    """Trials of a second, one at a time."""
    settings: dict[str, Any] = {
        "study": f"overhead-{workers}",
        "data": {"name": "digits", "num_labels": 300},
        "classifier": {"width": 8, "epochs": 2, "batch_size": 64},
        "augmenter": {"hidden": 8},
        "search": {"trials": trials, "space": {"augmenter.lr": {"float": [0.01, 0.1], "log": True}}},
        "final": {"seeds": 1},
        "resources": {"workers": workers, "concurrent_trials": 1},
    }
    return StudyConfig.model_validate(settings)


def run_study(study: StudyConfig, folder: Path) -> StudyTimings:
    """Runs the command on a study and reads what it left.

    Raises:
        RuntimeError: the command failed.
    """
    (folder / f"{study.study}.yaml").write_text(to_yaml(study), encoding="utf-8")
    started = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "dabo_ray.study", f"{study.study}.yaml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the study {study.study} ended with exit code {done.returncode}: {done.stderr}")
    return read_timings(folder / study.storage / study.study, started)


def read_timings(folder: Path, started: float) -> StudyTimings:
    """The timings of a finished study from its folder: records are written at the end of every epoch."""
    files = sorted(StudyFolder(folder).records(), key=lambda file: file.stat().st_mtime_ns)
    records = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return StudyTimings(
        started=started,
        ends=[file.stat().st_mtime for file in files],
        # What a frozen trial's origin took to learn is in its sum and was not spent again.
        seconds=[record[-1]["seconds"] - record[-1].get("learning_seconds", 0.0) for record in records],
        first_epoch=records[0][0]["seconds"],
    )


def seconds_to_start_a_group(study: StudyConfig, folder: Path) -> float:
    """Seconds from the call for workers to their first answer, without what they trained; on a Ray that is there."""
    from dabo_ray.execution.cluster import connected
    from dabo_ray.execution.worker import Order
    from dabo_ray.execution.worker_group import WorkerGroup

    trial = Trial(name="baseline-none", phase=Phase.BASELINES, arm="none", method="none", seed=0, epochs=1)
    with environment_restored(), connected(verbose=False, dashboard=True):
        start = time.perf_counter()
        group = WorkerGroup(ResourcesConfig(workers=1))
        answer = group.answer(Order(study, folder, trial, epoch=1))
        passed = time.perf_counter() - start
        group.close()
    if answer.failure:
        raise RuntimeError(f"the worker group could not train: {answer.failure}")
    return passed - answer.record["seconds"]
