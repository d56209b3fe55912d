"""Cost of the next trial: the first hundred of a search, and the last hundred of ten thousand."""

from __future__ import annotations

import time
from collections.abc import Sequence

from dabo_ray.benchmarks.measure import BenchmarkOptions, BenchmarkResult, PerformanceBudget, Row, rows_of
from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.plan import Plan
from dabo_ray.seeds import derive
from dabo_ray.trials import Outcome, Phase, Trial

TRIALS = 10_000
COMPARED = 100
MOST_GROWTH = 2.0


def run(options: BenchmarkOptions) -> BenchmarkResult:
    """Runs a search by tpe with asha on a backend that trains nothing; once, since it takes some minutes."""
    seconds = _seconds_of_next(options)
    samples = {f"first {COMPARED}": seconds[:COMPARED], f"last {COMPARED} of {TRIALS}": seconds[-COMPARED:]}
    rows: Sequence[Row] = rows_of(samples, f"first {COMPARED}", "seconds")
    growth = sum(seconds[-COMPARED:]) / sum(seconds[:COMPARED])
    return BenchmarkResult(
        "plan", rows, [PerformanceBudget(f"next(), last {COMPARED} over first {COMPARED}", growth, MOST_GROWTH)]
    )


def _seconds_of_next(options: BenchmarkOptions) -> list[float]:
    study = StudyConfig.model_validate(
        {
            "study": "bench-plan",
            "data": {"name": "digits"},
            "classifier": {"epochs": 2},
            "baselines": ["none"],
            "search": {
                "trials": TRIALS,
                "sampler": "tpe",
                "pruner": {"name": "asha", "min_epochs": 1, "reduction_factor": 2},
                "space": {
                    "bilevel.inner_steps": {"int": [1, 16], "log": True},
                    "augmenter.lr": {"float": [0.001, 0.1], "log": True},
                    "classifier.momentum": {"float": [0.0, 0.95]},
                },
            },
        }
    )
    plan = Plan(study, "sqlite://")
    seconds: list[float] = []
    while True:
        start = time.perf_counter()
        trial = plan.next()
        passed = time.perf_counter() - start
        if not isinstance(trial, Trial) or trial.phase is Phase.FINAL:
            return seconds
        if trial.phase is Phase.SEARCH:
            seconds.append(passed)
            if len(seconds) % COMPARED == 0:
                options.show_progress(f"trial {len(seconds)} of {TRIALS}")
        _train(plan, trial)


def _train(plan: Plan, trial: Trial) -> None:
    """Says of a trial that it was trained."""
    for epoch in (1, 2):
        accuracy = 50 + derive(trial.seed, "accuracy", epoch) % 1000 / 100
        metrics = {"epoch": float(epoch), "seconds": float(epoch), "select_accuracy": accuracy}
        if reason := plan.report(trial.name, metrics):
            plan.finish(trial.name, Outcome.PRUNED, metrics, reason)
            return
    plan.finish(trial.name, Outcome.COMPLETE, metrics)
