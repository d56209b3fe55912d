"""The benchmark of the plan, on fewer trials."""

from __future__ import annotations

import pytest
import torch

from dabo_ray.benchmarks import plan
from dabo_ray.benchmarks.measure import BenchmarkOptions


def test_it_times_the_first_and_the_last_trials(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plan, "TRIALS", 24)
    monkeypatch.setattr(plan, "COMPARED", 8)
    result = plan.run(BenchmarkOptions(torch.device("cpu"), 1, 1))
    assert [row.name for row in result.rows] == ["first 8", "last 8 of 24"]
    assert all(row.value > 0 for row in result.rows)
    (budget,) = result.budgets
    assert budget.measured > 0 and budget.budget == 2.0
