"""Steps on a GPU: by the wall, on the host, on the device; kernels and waits; beside PyTorch's own loops."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from dabo_ray.benchmarks.launches import count_operators, count_waits, profile_kernels
from dabo_ray.benchmarks.measure import (
    BenchmarkOptions,
    BenchmarkResult,
    PerformanceBudget,
    Row,
    rows_of,
    time_side_by_side,
    wait_for,
)
from dabo_ray.benchmarks.subjects import (
    AMORTISED,
    Size,
    bilevel_training,
    fill_window,
    with_truncation,
)
from dabo_ray.benchmarks.torch_steps import Precision, graphed_torch_step, torch_step
from dabo_ray.bilevel.step import Updates
from dabo_ray.bilevel.training import Training

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
SIZE = Size("resnet18", (3, 32, 32), 128)
WARM_UP = 6
"""Calls of a case before it is measured: kernels are chosen and graphs recorded in them."""

IN_A_ROW = 8
"""Updates of a kind between two looks at the clock: a device that has just been waited for has nothing to do."""

CIFAR10_UPDATES = 391
"""Batches of 128 in an epoch of CIFAR-10."""

TORCH, GRAPHED, PLAIN = "torch SGD", "torch SGD, CUDA graph by hand", "plain"
EXACT, NOT_DUE, DUE, CHEAP, BASED, EAGER = (
    *("exact K = 1", "not due", "due", "amortised", "amortised over flip", "amortised, no graphs"),
)
BUDGETS: dict[str, tuple[str, float]] = {
    EXACT: (PLAIN, 3.8),
    CHEAP: (PLAIN, 1.35),
    NOT_DUE: (PLAIN, 1.05),
    PLAIN: (GRAPHED, 1.05),
}
"""Case -> the case that it is compared with, and the largest ratio."""

MOST_KERNELS = 5
"""Of a due step over a plain one."""


@dataclass(frozen=True)
class Case:
    """Something to measure."""

    run: Callable[[], object]
    updates: int = 1
    """Of the classifier, in a run."""


def _again(step: Callable[[], object]) -> Case:
    def run() -> None:
        for _ in range(IN_A_ROW):
            step()

    return Case(run, IN_A_ROW)


def run(options: BenchmarkOptions, size: Size = SIZE) -> BenchmarkResult:
    """Both precisions; every ratio is to the plain step of its own."""
    rows: list[Row] = []
    budgets: list[PerformanceBudget] = []
    for precision in PRECISIONS:
        cases = dict(_cases(size, precision, options.device))
        runs = {f"{precision}, {name}": case.run for name, case in cases.items()}
        samples = time_side_by_side(runs, options, WARM_UP if options.device.type == "cuda" else 1)
        seconds = {
            name: [each / case.updates for each in samples[f"{precision}, {name}"]] for name, case in cases.items()
        }
        counts = {name: _counts(case, options) for name, case in cases.items()}
        for row in rows_of(seconds, PLAIN, "seconds"):
            details = {
                **counts[row.name],
                "images_per_second": size.batch / row.value,
                "cifar10_epochs_per_hour": 3600 / (CIFAR10_UPDATES * row.value),
            }
            rows.append(replace(row, name=f"{precision}: {row.name}", details=details))
        budgets += _budgets(precision, seconds, counts)
        del cases
    return BenchmarkResult("gpu", rows, budgets)


def _budgets(
    precision: Precision, seconds: Mapping[str, Sequence[float]], counts: Mapping[str, Mapping[str, float]]
) -> Iterator[PerformanceBudget]:
    for name, (other, most) in BUDGETS.items():
        if other in seconds:
            (ratio,) = (row.ratio for row in rows_of(seconds, other, "seconds") if row.name == name)
            yield PerformanceBudget(f"{precision}: {name} / {other}", ratio, most)
    unit = "kernels" if "kernels" in counts[DUE] else "operators"
    yield PerformanceBudget(
        f"{precision}: {unit} of {DUE} / {PLAIN}", counts[DUE][unit] / counts[PLAIN][unit], MOST_KERNELS
    )
    if "waits" in counts[BASED]:
        most_waits = max(count["waits"] for name, count in counts.items() if name != TORCH)
        yield PerformanceBudget(f"{precision}: waits of a step", most_waits, 0)


def _cases(size: Size, precision: Precision, device: torch.device) -> Iterator[tuple[str, Case]]:
    made = partial(bilevel_training, size, device=device, precision=precision)
    plain = made(AMORTISED, method="none")
    yield TORCH, _again(torch_step(plain, precision))
    if device.type == "cuda":
        yield GRAPHED, _again(graphed_torch_step(made(AMORTISED, method="none"), precision))
    yield PLAIN, _again(partial(plain.step, 0))
    exact = made(with_truncation(1))
    yield EXACT, _again(partial(exact.step, 0))
    cheap = made(AMORTISED)
    assert cheap.learner is not None
    every = cheap.learner.inner_steps
    yield NOT_DUE, _again(partial(cheap.step, 0))
    yield DUE, _again(partial(cheap.step, every - 1))
    yield CHEAP, Case(partial(_cycle, cheap, every), every)
    yield BASED, Case(partial(_cycle, made(AMORTISED, base=("flip",)), every), every)
    if device.type == "cuda":
        eager = made(AMORTISED)
        eager.updates = Updates(
            eager.objective, eager.inputs.augment, eager.learner, workers=eager.workers, device=device
        )
        yield EAGER, Case(partial(_cycle, eager, every), every)
    for engine in ("adjoint", "unrolled"):
        long = made(with_truncation(4, engine))
        fill_window(long)
        yield f"{engine} K = 4", _again(partial(long.step, 0))


def _cycle(training: Training, updates: int) -> None:
    for number in range(updates):
        training.step(number)


def _counts(case: Case, options: BenchmarkOptions) -> dict[str, float]:
    """Of an update: what the host takes to say all that there is to do; what that is."""
    hosts = []
    for _ in range(options.repeats):
        wait_for(options.device)
        start = time.perf_counter()
        case.run()
        hosts.append(time.perf_counter() - start)
    host = {"host_ms": 1e3 * statistics.median(hosts) / case.updates}
    if options.device.type != "cuda":
        return {**host, "operators": sum(count_operators(case.run).values()) / case.updates}
    kernels, seconds = profile_kernels(case.run)
    return {
        **host,
        "device_ms": 1e3 * seconds / case.updates,
        "kernels": kernels / case.updates,
        "waits": count_waits(case.run) / case.updates,
    }
