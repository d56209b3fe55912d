"""The benchmark of a study's overhead: its arithmetic, and a real study of few trials."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from dabo_ray.benchmarks import overhead
from dabo_ray.benchmarks.measure import BenchmarkOptions


def leave_trial(folder: Path, name: str, end: float, records: list[dict[str, float]]) -> None:
    file = folder / "trials" / name / "records.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(records))
    os.utime(file, (end, end))


def test_training_is_taken_off(tmp_path: Path) -> None:
    """Started at 1000, trains from 1010; the next trial ends 8 s later, of which it trained 6."""
    leave_trial(tmp_path, "search-0000", 1022.0, [{"seconds": 2.0}, {"seconds": 6.0}])
    leave_trial(tmp_path, "baseline-none", 1014.0, [{"seconds": 3.0}, {"seconds": 4.0}])
    leave_trial(tmp_path, "final-frozen-1-seed-0", 1025.0, [{"seconds": 8.5, "learning_seconds": 6.0}])
    timing = overhead.read_timings(tmp_path, started=1000.0)
    assert timing.per_trial() == [2.0, 0.5]
    assert timing.until_first_epoch() == 13.0


def test_a_study_that_fails_says_why(tmp_path: Path) -> None:
    study = overhead.tiny_study("local", 1)
    wrong = study.model_copy(update={"data": study.data.model_copy(update={"num_labels": 12})})
    with pytest.raises(RuntimeError, match=r"(?s)overhead-local ended with exit code 2: .*num_labels"):
        overhead.run_study(wrong, tmp_path)


@pytest.mark.slow
def test_runs_real_studies() -> None:
    before = os.environ.get("RAY_ADDRESS")
    result = overhead.run(BenchmarkOptions(torch.device("cpu"), repeats=1, threads=1))
    # A study that is started later would look for the Ray of the worker group.
    assert os.environ.get("RAY_ADDRESS") == before
    assert [row.name for row in result.rows] == [
        "a trial, workers local",
        "a trial, workers 1",
        "start to first epoch, workers local",
        "start to first epoch, workers 1",
        "start of a worker group",
    ]
    assert all(row.value > 0 for row in result.rows)
    assert [budget.budget for budget in result.budgets] == [1.5, 1.5, 45.0]
