"""Budget of a study: what its trials have used up, what is still to come, and the limit that one more would exceed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dabo_ray.config.schema import ResourcesConfig, StudyConfig
from dabo_ray.trials import FROZEN, LEARNED, Trial

MARGIN = 1.25
"""What is kept for the final phase over its estimate: its trials have more images to train on, and differ."""


def gpu_hours(resources: ResourcesConfig, seconds: float) -> float:
    """Hours of training times the trial's GPUs; without GPUs, times its workers."""
    workers = 1 if resources.workers == "local" else resources.workers
    return seconds / 3600 * workers * (resources.gpus_per_worker or 1)


def own_seconds(metrics: Mapping[str, float]) -> float:
    """Training seconds of a trial itself, without those in which its origin learned."""
    return metrics.get("seconds", 0.0) - metrics.get("learning_seconds", 0.0)


@dataclass(frozen=True)
class Usage:
    """Trials and the seconds that they train."""

    trials: int = 0
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.trials + other.trials, self.seconds + other.seconds)

    def __mul__(self, factor: float) -> Usage:
        return Usage(self.trials, self.seconds * factor)


class _Rates(dict[str, float]):
    """Seconds per epoch by trial, with their mean at hand."""

    total = 0.0

    def __setitem__(self, name: str, rate: float) -> None:
        self.total += rate - self.get(name, 0.0)
        super().__setitem__(name, rate)

    @property
    def mean(self) -> float:
        return self.total / len(self)


class BudgetTracker:
    """The budget of a study and what was used of it.

    Args:
        study: the checked study file.
        wall_seconds: of all starts so far, this one included.
    """

    def __init__(self, study: StudyConfig, wall_seconds: Callable[[], float]) -> None:
        self._study = study
        self._wall_seconds = wall_seconds
        self.concurrent = 1
        """Trials that run at once."""
        self._spent: dict[str, float] = {}
        self._total = 0.0
        self._running: dict[str, Trial] = {}
        self._rates: defaultdict[str, _Rates] = defaultdict(_Rates)

    def begin(self, trial: Trial) -> None:
        """A trial was issued."""
        self._running[trial.name] = trial
        self._spent.setdefault(trial.name, 0.0)

    def note(self, trial: Trial, metrics: Mapping[str, float]) -> None:
        """What a trial has used so far."""
        seconds = max(own_seconds(metrics), self._spent.get(trial.name, 0.0))
        self._total += seconds - self._spent.get(trial.name, 0.0)
        self._spent[trial.name] = seconds
        if metrics.get("epoch"):
            self._rates[trial.method][trial.name] = seconds / metrics["epoch"]

    def end(self, trial: Trial) -> None:
        """A trial has ended."""
        self._running.pop(trial.name, None)

    def cost(self, method: str, epochs: int, origin: str | None = None) -> Usage:
        """What a trial is expected to use: as much per epoch as its origin, or else the mean of its method."""
        known = self._rates[method]
        return Usage(1, epochs * known.get(origin or "", self._mean_rate(method)))

    def _mean_rate(self, method: str) -> float:
        """Seconds per epoch; before any trial of the method, those of the dearest other that is not learned."""
        if rates := self._rates[method]:
            return rates.mean
        means = {name: rates.mean for name, rates in self._rates.items() if rates}
        others = [mean for name, mean in means.items() if name != LEARNED]
        return max(others, default=max(means.values(), default=0.0))

    def final_phase(self) -> Usage:
        """What the whole final phase is expected to use."""
        study = self._study
        final, epochs = study.final, study.classifier.epochs
        costs = [self.cost(study.method_of(label), epochs) for label in study.arms]
        costs += [self.cost(LEARNED, epochs)] * (len(final.equal_cost) + final.top)
        costs += [self.cost(FROZEN, epochs)] * (final.top if final.frozen else 0)
        return _total(cost for cost in costs for _ in range(final.seeds)) * MARGIN

    def first_candidates(self) -> Usage:
        """What it is expected to use to try as many candidates as the final phase compares."""
        cost = self.cost(LEARNED, self._study.classifier.epochs)
        return _total(cost for _ in range(self._study.final.top * self._study.search.repeats))

    def limit_reached(self, more: Usage, reserve: Usage) -> str:
        """The limit that leaves no room for more, in words with its numbers; empty if there is room.

        Args:
            more: to be used now.
            reserve: to be kept for later phases.
        """
        for key, limit in self._limits().items():
            used = self._measure(key, Usage(len(self._spent), self._total))
            kept = self._to_come(key, reserve)
            if used + self._to_come(key, more) + kept > limit * (1 + 1e-9):
                words = f", {kept:.3g} kept for later phases" if kept else ""
                return f"budget.{key} {limit:g} is reached: {used:.3g} used{words}"
        return ""

    def under_way(self) -> Usage:
        """What the running trials are expected to use until they end."""
        return Usage(0, sum(self._left_of(trial) for trial in self._running.values()))

    def _left_of(self, trial: Trial) -> float:
        return max(0.0, self.cost(trial.method, trial.epochs, trial.origin).seconds - self._spent[trial.name])

    def _limits(self) -> dict[str, float]:
        budget = self._study.budget
        limits = {key: getattr(budget, key) for key in ("trials", "wall_hours", "gpu_hours", "money")}
        return {key: float(limit) for key, limit in limits.items() if limit is not None}

    def _measure(self, key: str, use: Usage) -> float:
        if key == "trials":
            return use.trials
        if key == "wall_hours":
            return self._wall_seconds() / 3600
        hours = gpu_hours(self._study.resources, use.seconds)
        return hours * (self._study.budget.price_per_gpu_hour or 0.0) if key == "money" else hours

    def _to_come(self, key: str, use: Usage) -> float:
        return use.seconds / 3600 / self.concurrent if key == "wall_hours" else self._measure(key, use)


def _total(uses: Iterable[Usage]) -> Usage:
    total = Usage()
    for use in uses:
        total += use
    return total
