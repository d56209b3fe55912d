"""The augmentation benchmark on a few images."""

from __future__ import annotations

import torch

from dabo_ray.benchmarks import augment
from dabo_ray.benchmarks.measure import Options


def test_runs_on_a_few_images():
    result = augment.run(Options(torch.device("cpu"), repeats=1, threads=1), batch=6)
    names = [row.name for row in result.rows if not row.name.endswith(", kornia")]
    assert names == [case for name in augment.PAIRS for case in (f"{name}, torchvision", name)]
    assert all(row.value > 0 and row.unit == "per_second" for row in result.rows)
    (budget,) = result.budgets
    assert budget.at_least
    assert budget.measured == next(row.ratio for row in result.rows if row.name == "trivialaugment")
