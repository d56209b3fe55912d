"""A real study that its budget stops, is extended and finishes: the tables of one that ran through."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest


def tables(results: Path) -> list[tuple[Any, ...]]:
    """What a study found, trial by trial, without clocks."""
    with (results / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    kept = ("name", "phase", "arm", "seed", "outcome", "select_accuracy", "test_accuracy", "augmenter.lr")
    return sorted(tuple(row[key] for key in kept) for row in rows)


@pytest.mark.slow
@pytest.mark.ray
def test_stopped_by_its_budget_extended_and_finished(study_command, tmp_path):
    one_at_a_time = "resources.concurrent_trials=1"
    limited = study_command(tmp_path / "limited", "search.trials=3", "budget={trials: 6}", one_at_a_time)
    stopped = limited.run()
    assert stopped.returncode == 0, stopped
    assert "budget.trials 6 is reached: 3 used, 3 kept for later phases" in stopped.stdout
    assert "--extend budget.trials=MORE" in stopped.stdout
    assert json.loads((limited.results / "summary.json").read_text())["budget"].startswith("budget.trials 6")
    assert len(tables(limited.results)) == 6
    extended = limited.run("--extend", "budget.trials=null")
    assert extended.returncode == 0, extended
    whole = study_command(tmp_path / "whole", "search.trials=3", one_at_a_time)
    assert whole.run().returncode == 0
    without_names = [[row[1:] for row in tables(command.results)] for command in (limited, whole)]
    assert sorted(without_names[0]) == sorted(without_names[1])
    again = limited.run("--resume")
    assert again.returncode == 0 and "starting Ray" not in again.stdout
