"""Peak memory of a step above the process before it, a fresh process for each case."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from dabo_ray.benchmarks.measure import BenchmarkOptions, BenchmarkResult, PerformanceBudget, rows_of
from dabo_ray.benchmarks.subjects import SIZES, Size, with_truncation
from dabo_ray.config.schema import BilevelConfig

PLAIN = "plain SGD"
CASES: dict[str, BilevelConfig | None] = {
    PLAIN: None,
    **{f"adjoint K = {k}": with_truncation(k) for k in (1, 2, 4, 8)},
    **{f"unrolled K = {k}": with_truncation(k, "unrolled") for k in (1, 2, 4)},
}
GROWTH_BUDGET, ENGINE_BUDGET = 1.5, 1.2

# Freed blocks go back to the system at once, or the process would keep them and its next peak would not show.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}


def run(options: BenchmarkOptions, sizes: Sequence[Size] = SIZES[1::2]) -> BenchmarkResult:
    """Every case once, with the larger batch: memory does not vary as time does."""
    rows, budgets = [], []
    for size in sizes:
        found = {f"{size}: {name}": [_in_a_process(size, name, bilevel, options)] for name, bilevel in CASES.items()}
        rows += rows_of(found, f"{size}: {PLAIN}", "mib")
        if size.network == "resnet18":
            one, eight, other = (
                found[f"{size}: {name}"][0] for name in ("adjoint K = 1", "adjoint K = 8", "unrolled K = 1")
            )
            budgets.append(PerformanceBudget(f"{size}: adjoint, K = 8 / K = 1", eight / one, GROWTH_BUDGET))
            budgets.append(PerformanceBudget(f"{size}: K = 1, adjoint / unrolled", one / other, ENGINE_BUDGET))
    return BenchmarkResult("memory", rows, budgets)


def _in_a_process(size: Size, name: str, bilevel: BilevelConfig | None, options: BenchmarkOptions) -> float:
    """MiB of one case."""
    options.show_progress(f"{size}: {name}")
    settings = bilevel and bilevel.model_dump()
    order = json.dumps([size.network, size.shape, size.batch, settings, str(options.device), options.threads])
    done = subprocess.run(
        [sys.executable, "-m", "dabo_ray.benchmarks.peak", order],
        env={**os.environ, **ALLOCATOR, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)
