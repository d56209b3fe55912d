"""A setting of the search and what its trials, one for each seed, have shown of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.store import Distributions
from dabo_ray.trials import Outcome, TrialResult


@dataclass
class Setting:
    """A setting as it stands."""

    number: int
    values: Mapping[str, Any]
    """Key path -> what was drawn."""

    distributions: Distributions
    results: list[TrialResult] = field(default_factory=list)
    """Of its trials that have ended, seed by seed."""

    repeats: int = 1
    """Trials that it takes."""

    curve: Mapping[int, float] = field(default_factory=dict)
    """Epoch -> select accuracy, of its last trial."""

    accuracy: float | None = None
    """Mean over its complete trials; of a setting without any, the last that was heard."""

    def add(self, result: TrialResult, curve: Mapping[int, float]) -> None:
        """Takes in the end of a trial and its select accuracy by epoch."""
        self.results.append(result)
        self.curve = curve
        accuracies = [complete.metrics["select_accuracy"] for complete in self.complete()]
        self.accuracy = fmean(accuracies) if accuracies else result.metrics.get("select_accuracy")

    @property
    def outcome(self) -> Outcome:
        """How it stands: as its last trial, and running while there are more to come."""
        if not self.results or (self.results[-1].outcome is Outcome.COMPLETE and len(self.results) < self.repeats):
            return Outcome.RUNNING
        return self.results[-1].outcome

    def complete(self) -> Sequence[TrialResult]:
        """Its trials that trained to their end, also one after which the other seeds were not worth it."""
        return [
            result
            for result in self.results
            if result.outcome is Outcome.COMPLETE
            or (result.outcome is Outcome.PRUNED and result.metrics.get("epoch") == result.trial.epochs)
        ]

    def measured(self, study: StudyConfig) -> dict[str, float]:
        """Mean of each measure that the search goes by; empty until the setting has ended and has all of them."""
        names = {*study.search.objective, *study.search.constraints}
        complete = self.complete()
        is_whole = all(name in result.metrics for result in complete for name in names)
        if not complete or not is_whole or self.outcome in (Outcome.RUNNING, Outcome.FAIL):
            return {}
        return {name: fmean(result.metrics[name] for result in complete) for name in names}

    def violations(self, study: StudyConfig) -> dict[str, float]:
        """Measure -> by how much it is over its limit, zero or less if it is not; of a measured setting."""
        measured = self.measured(study)
        return {name: measured[name] - limit for name, limit in study.search.constraints.items()}
