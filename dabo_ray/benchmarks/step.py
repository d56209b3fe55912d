"""Time of a bilevel step over a plain step of SGD, and of ways to a hypergradient through several updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from dabo_ray.benchmarks.measure import (
    BenchmarkOptions,
    BenchmarkResult,
    PerformanceBudget,
    Row,
    rows_of,
    time_side_by_side,
)
from dabo_ray.benchmarks.subjects import (
    AMORTISED,
    SIZES,
    Size,
    bilevel_steps,
    bilevel_training,
    fill_window,
    published_step,
    with_truncation,
)
from dabo_ray.benchmarks.torch_steps import torch_step
from dabo_ray.config.schema import BilevelConfig

PLAIN, EXACT, CHEAP, PUBLISHED = "plain SGD", "exact K = 1", "amortised", "published"
EXACT_BUDGET, AMORTISED_BUDGET = 3.6, 1.3
SWEEP = {
    **{f"adjoint K = {k}": with_truncation(k) for k in (2, 4, 8)},
    **{f"unrolled K = {k}": with_truncation(k, "unrolled") for k in (1, 2, 4)},
}


def run(options: BenchmarkOptions, sizes: Sequence[Size] = SIZES) -> BenchmarkResult:
    """Every size; the long steps of the sweep over K a third as often as the others."""
    rows: list[Row] = []
    budgets: list[PerformanceBudget] = []
    rare = replace(options, repeats=max(1, options.repeats // 3))
    for size in sizes:
        training = bilevel_training(size, with_truncation(1), options.device)
        plain = {PLAIN: torch_step(training)}
        often = {EXACT: with_truncation(1), CHEAP: AMORTISED}
        found = _measure(size, plain | {PUBLISHED: published_step(training)}, often, options)
        sweep = _measure(size, plain, SWEEP, rare)
        rows += found + sweep[1:]
        ratios = {row.name: row.ratio for row in found}
        if size.network == "resnet18":
            budgets.append(PerformanceBudget(f"{size}: {EXACT} / {PLAIN}", ratios[f"{size}: {EXACT}"], EXACT_BUDGET))
            budgets.append(
                PerformanceBudget(f"{size}: {CHEAP} / {PLAIN}", ratios[f"{size}: {CHEAP}"], AMORTISED_BUDGET)
            )
    return BenchmarkResult("step", rows, budgets)


def _measure(
    size: Size, cases: dict[str, Callable[[], None]], settings: dict[str, BilevelConfig], options: BenchmarkOptions
) -> list[Row]:
    """Rows with seconds per update of the classifier, the plain step first."""
    updates = dict.fromkeys(cases, 1)
    for name, bilevel in settings.items():
        training = bilevel_training(size, bilevel, options.device)
        fill_window(training)
        cases = cases | {name: bilevel_steps(training)}
        updates[name] = bilevel.inner_steps or 1
    samples = time_side_by_side(
        cases, replace(options, show_progress=lambda text: options.show_progress(f"{size}, {text}"))
    )
    per_update = {
        f"{size}: {name}": [seconds / updates[name] for seconds in values] for name, values in samples.items()
    }
    return rows_of(per_update, f"{size}: {PLAIN}", "seconds")
