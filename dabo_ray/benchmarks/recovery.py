"""Recovery of a known shift: the quickstart's learned arm over many seeds, each beside no augmentation."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dabo_ray.analysis.convergence import learned_spreads
from dabo_ray.assembly import make_study_pools, make_training
from dabo_ray.benchmarks.measure import BenchmarkOptions, BenchmarkResult, PerformanceBudget, Row, rows_of
from dabo_ray.bilevel.training import Record
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.splits import Pools
from dabo_ray.trials import LEARNED, Phase, Trial

PLAIN = "none"

QUICKSTART: dict[str, Any] = {
    "study": "recovery",
    "seed": 0,
    "data": {"name": "digits", "outer_fraction": 0.25, "select_fraction": 0.1, "shift": {"rotation": 45}},
    "classifier": {
        "name": "small_cnn",
        "width": 32,
        "epochs": 40,
        "batch_size": 64,
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 5.0e-4,
    },
    "augmenter": {"name": "affine"},
    "baselines": [PLAIN],
}
"""`studies/digits.yaml` without its search: the images to be recognised are turned by up to 45 degrees."""

RECOVERED = 93.0
"""Test accuracy, in percent, under which a seed counts as lost; none reaches 72, rotation by the true range 98."""

SMALLEST_SHARE, SMALLEST_MEDIAN = 0.98, 97.0


@dataclass(frozen=True)
class Recovered:
    """What a seed gave: the last record of its training, and the seconds that the training took."""

    record: Record
    seconds: float
    """Of processor time on a CPU, over all threads; of the clock elsewhere."""

    @property
    def accuracy(self) -> float:
        """On the shifted test images, percent."""
        return self.record["test_accuracy"]

    def to_dict(self) -> dict[str, float]:
        """Test accuracy, seconds, and what the record has of the outer problem and of the learned distribution."""
        outer = {"outer_loss": self.record["outer_loss"]} if "outer_loss" in self.record else {}
        found = {"test_accuracy": self.accuracy, "training_seconds": self.seconds, **outer}
        return found | learned_spreads(self.record)


def run(options: BenchmarkOptions, settings: dict[str, Any] | None = None) -> BenchmarkResult:
    """Trains every seed with and without the learned augmentation, in this process.

    Args:
        options: seeds, device and progress; repeats are of no use, since the same seed gives the same numbers.
        settings: of the study; None: `QUICKSTART`.

    Raises:
        Diverged: the loss of a seed is not finite.
    """
    study = StudyConfig.model_validate(settings or QUICKSTART)
    pools = make_study_pools(study)
    found: dict[str, list[Recovered]] = {LEARNED: [], PLAIN: []}
    for place, seed in enumerate(options.seeds):
        for method, results in found.items():
            options.show_progress(f"seed {seed} ({place + 1} of {len(options.seeds)}): {method}")
            results.append(train(study, pools, method, seed, options))
    learned = [result.accuracy for result in found[LEARNED]]
    share = sum(accuracy >= RECOVERED for accuracy in learned) / len(learned)
    budgets = [
        PerformanceBudget(f"share of seeds with {RECOVERED:g} % or more", share, SMALLEST_SHARE, at_least=True),
        PerformanceBudget("median test accuracy", statistics.median(learned), SMALLEST_MEDIAN, at_least=True),
    ]
    seconds = {f"training, {method}": [result.seconds for result in results] for method, results in found.items()}
    rows = [*_accuracies(found), *rows_of(seconds, f"training, {PLAIN}", "seconds")]
    details = [
        {"seed": seed, LEARNED: of_learned.to_dict(), PLAIN: of_plain.to_dict()}
        for seed, of_learned, of_plain in zip(options.seeds, found[LEARNED], found[PLAIN], strict=True)
    ]
    return BenchmarkResult("recovery", rows, budgets, details)


def train(study: StudyConfig, pools: Pools, method: str, seed: int, options: BenchmarkOptions) -> Recovered:
    """Trains one seed of the final phase to its end."""
    trial = Trial(
        name=f"final-{method}-seed-{seed}",
        phase=Phase.FINAL,
        arm=method,
        method=method,
        seed=seed,
        epochs=study.classifier.epochs,
    )
    training = make_training(study, trial, pools, device=options.device)
    clock = time.process_time if options.device.type == "cpu" else time.perf_counter
    start = clock()
    *_, record = training.epochs()
    return Recovered(record, clock() - start)


def _accuracies(found: dict[str, list[Recovered]]) -> Sequence[Row]:
    """Median and worst of both, in percent, each over the median without augmentation."""
    basis = statistics.median(result.accuracy for result in found[PLAIN])
    rows: list[Row] = []
    for method, results in found.items():
        accuracies = [result.accuracy for result in results]
        for name, value in (("median", statistics.median(accuracies)), ("worst", min(accuracies))):
            rows.append(Row(f"{name} test accuracy, {method}", "percent", value, value / basis))
    return rows
