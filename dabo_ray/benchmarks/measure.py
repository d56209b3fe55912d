"""Measuring side by side: every case in turn, again and again, so that a slow minute of the machine hits all alike."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from dabo_ray.storage.atomic import write_atomically
from dabo_ray.tracking.provenance import collect

Unit = Literal["seconds", "per_second", "mib", "percent"]


@dataclass(frozen=True)
class BenchmarkOptions:
    """What the command line says of a run."""

    device: torch.device
    repeats: int
    """Measurements of each case, >= 1."""

    threads: int
    """CPU threads of both sides of a comparison."""

    seeds: Sequence[int] = range(20)
    """Of the trainings that are repeated with other seeds."""

    show_progress: Callable[[str], object] = lambda _: None
    """Told what is measured now."""


@dataclass(frozen=True)
class Row:
    """One case."""

    name: str
    unit: Unit
    value: float
    """Median over the repeats, in the unit."""

    ratio: float
    """To the case that the table names first for this comparison."""

    spread: float = 0.0
    """Half the distance between the quartiles of the repeats over the median."""

    details: Mapping[str, float] = field(default_factory=dict)
    """What else was measured of it: name with its unit -> value."""


@dataclass(frozen=True)
class PerformanceBudget:
    """A promise and what was measured."""

    name: str
    measured: float
    budget: float
    at_least: bool = False
    """The budget is a lower bound; otherwise an upper one."""

    @property
    def met(self) -> bool:
        """Whether the promise is kept."""
        return self.measured >= self.budget if self.at_least else self.measured <= self.budget


@dataclass(frozen=True)
class BenchmarkResult:
    """A table with its promises."""

    what: str
    rows: Sequence[Row]
    budgets: Sequence[PerformanceBudget] = field(default_factory=list)
    details: Sequence[Mapping[str, Any]] = field(default_factory=list)
    """For the file alone: what each of many trainings gave, as JSON values."""


def time_side_by_side(
    cases: Mapping[str, Callable[[], object]], options: BenchmarkOptions, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of every case, `options.repeats` times, one case after the other in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for round_number in range(warm_up + options.repeats):
        for name, case in cases.items():
            options.show_progress(f"round {round_number + 1} of {warm_up + options.repeats}: {name}")
            wait_for(options.device)
            start = time.perf_counter()
            case()
            wait_for(options.device)
            if round_number >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def wait_for(device: torch.device) -> None:
    """Until a GPU has done all that it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def environment_restored() -> Iterator[None]:
    """Ray tells its processes by the environment where it is; nobody may look for that Ray when it has ended."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def rows_of(samples: Mapping[str, Sequence[float]], basis: str, unit: Unit) -> list[Row]:
    """A row per case, compared with the case `basis`.

    The ratio is the median over the repeats of the ratios within one round: what slows a whole round cancels.
    """
    return [
        Row(
            name=name,
            unit=unit,
            value=statistics.median(values),
            ratio=statistics.median(a / b for a, b in zip(values, samples[basis], strict=True)),
            spread=_spread(values),
        )
        for name, values in samples.items()
    ]


def _spread(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle if middle else 0.0


def to_json(result: BenchmarkResult, options: BenchmarkOptions) -> dict[str, Any]:
    """The result as JSON values, with the machine that it was measured on."""
    return {
        "what": result.what,
        "rows": [
            {"name": row.name, row.unit: row.value, "ratio": row.ratio, "spread": row.spread, **row.details}
            for row in result.rows
        ],
        "budgets": [{**asdict(budget), "met": budget.met} for budget in result.budgets],
        **({"details": list(result.details)} if result.details else {}),
        "environment": {
            "device": str(options.device),
            "threads": options.threads,
            "repeats": options.repeats,
            **collect(gpus=[torch.cuda.get_device_name(options.device)] if options.device.type == "cuda" else []),
        },
    }


def write_json(result: BenchmarkResult, options: BenchmarkOptions, path: Path) -> None:
    """Writes `to_json` to a file, whole or not at all."""
    write_atomically(path, json.dumps(to_json(result, options), indent=2) + "\n")
