"""The benchmark of the learned transform on a few calls."""

from __future__ import annotations

import torch

from dabo_ray.benchmarks import transform
from dabo_ray.benchmarks.measure import BenchmarkOptions


def test_runs_on_a_few_calls():
    result = transform.run(BenchmarkOptions(torch.device("cpu"), repeats=1, threads=1), calls=2)
    names = [f"{kind} {side} px" for side in (32, 224) for kind in ("PIL", "tensor")]
    cases = ("RandomAffine", "learned affine", "RandomAffine, nearest")
    assert [row.name for row in result.rows] == [f"{name}, {case}" for name in names for case in cases]
    assert all(row.value > 0 and row.unit == "per_second" for row in result.rows)
    for budget, name in zip(result.budgets, names, strict=True):
        ratio = next(row.ratio for row in result.rows if row.name == f"{name}, learned affine")
        assert budget.measured == 1 / ratio and budget.budget == 2 and not budget.at_least
