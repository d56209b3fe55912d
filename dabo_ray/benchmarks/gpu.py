"""Steps on a GPU: by the wall, on the host, on the device; kernels and waits; beside PyTorch's own loops."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from dabo_ray.benchmarks.launches import count_operators, count_waits, profile_kernels
from dabo_ray.benchmarks.measure import BenchmarkOptions, BenchmarkResult, PerformanceBudget, Row
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


@dataclass(frozen=True)
class Timing:
    """Seconds of a run."""

    wall: float
    host: float
    """Until the CPU has said all that there is to do."""


def run(options: BenchmarkOptions, size: Size = SIZE) -> BenchmarkResult:
    """Both precisions; every ratio is to the plain step of its own."""
    rows: list[Row] = []
    budgets: list[PerformanceBudget] = []
    for precision in PRECISIONS:
        cases = dict(_cases(size, precision, options.device))
        timings = _interleaved(cases, options, precision)
        counts = {name: _counts(case, options.device) for name, case in cases.items()}
        ratios = {name: {other: _ratio(timings, cases, name, other) for other in cases} for name in cases}
        for name, case in cases.items():
            walls = [timing.wall / case.updates for timing in timings[name]]
            host = statistics.median(timing.host / case.updates for timing in timings[name])
            wall = statistics.median(walls)
            low, _, high = statistics.quantiles(walls, n=4) if len(walls) > 1 else (wall, wall, wall)
            details = {
                "host_ms": 1e3 * host,
                **counts[name],
                "images_per_second": size.batch / wall,
                "cifar10_epochs_per_hour": 3600 / (CIFAR10_UPDATES * wall),
            }
            spread = (high - low) / 2 / wall
            rows.append(Row(f"{precision}: {name}", "seconds", wall, ratios[name][PLAIN], spread, details))
        budgets += _budgets(precision, ratios, counts)
        del cases
    return BenchmarkResult("gpu", rows, budgets)


def _budgets(
    precision: Precision, ratios: Mapping[str, Mapping[str, float]], counts: Mapping[str, Mapping[str, float]]
) -> Iterator[PerformanceBudget]:
    for name, (other, most) in BUDGETS.items():
        if name in ratios and other in ratios[name]:
            yield PerformanceBudget(f"{precision}: {name} / {other}", ratios[name][other], most)
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


def _interleaved(cases: Mapping[str, Case], options: BenchmarkOptions, precision: Precision) -> dict[str, list[Timing]]:
    """Every case in turn, `options.repeats` times."""
    for name, case in cases.items():
        options.show_progress(f"{precision}, warming up: {name}")
        for _ in range(WARM_UP if options.device.type == "cuda" else 1):
            case.run()
    timings: dict[str, list[Timing]] = {name: [] for name in cases}
    for number in range(options.repeats):
        for name, case in cases.items():
            options.show_progress(f"{precision}, round {number + 1} of {options.repeats}: {name}")
            timings[name].append(_timed(case, options.device))
    return timings


def _timed(case: Case, device: torch.device) -> Timing:
    _wait(device)
    start = time.perf_counter()
    case.run()
    host = time.perf_counter() - start
    _wait(device)
    return Timing(time.perf_counter() - start, host)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _counts(case: Case, device: torch.device) -> dict[str, float]:
    if device.type != "cuda":
        return {"operators": sum(count_operators(case.run).values()) / case.updates}
    kernels, seconds = profile_kernels(case.run)
    return {
        "device_ms": 1e3 * seconds / case.updates,
        "kernels": kernels / case.updates,
        "waits": count_waits(case.run) / case.updates,
    }


def _ratio(timings: Mapping[str, list[Timing]], cases: Mapping[str, Case], name: str, other: str) -> float:
    """Median over the rounds of the ratio within one."""
    factor = cases[other].updates / cases[name].updates
    return statistics.median(factor * a.wall / b.wall for a, b in zip(timings[name], timings[other], strict=True))
