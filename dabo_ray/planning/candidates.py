"""Candidates of the search: points of its space, the results of their trials, and what the sampler learns from them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import fmean
from typing import Any

from optuna.trial import FrozenTrial

from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.trial_store import STATES, Distributions
from dabo_ray.trials import Outcome, TrialResult

BEST_OBSERVED, LATEST_OBSERVED = 25, 75
"""Of many candidates, the sampler gets so many of the best and of the latest: its cost grows with all it gets."""


@dataclass
class Candidate:
    """A point of the search space, tried by one trial on each of its seeds."""

    number: int
    values: Mapping[str, Any]
    """Key path -> what was drawn."""

    distributions: Distributions
    results: list[TrialResult] = field(default_factory=list)
    """Of its trials that have ended, seed by seed."""

    repeats: int = 1
    """Trials that it takes."""

    curve: Mapping[int, float] = field(default_factory=dict)
    """Epoch -> select score, of its last trial."""

    score: float | None = None
    """Mean over its complete trials; of a candidate without any, the last that was reported."""

    def add(self, result: TrialResult, curve: Mapping[int, float]) -> None:
        """Takes in the end of a trial and its select score by epoch."""
        self.results.append(result)
        self.curve = curve
        name = result.trial.select_metric
        scores = [complete.metrics[name] for complete in self.complete()]
        self.score = fmean(scores) if scores else result.metrics.get(name)

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
        """Mean of each measure that the search goes by; empty until the candidate has ended and has all of them."""
        names = {*study.search.objective, *study.search.constraints}
        complete = self.complete()
        is_whole = all(name in result.metrics for result in complete for name in names)
        if not complete or not is_whole or self.outcome in (Outcome.RUNNING, Outcome.FAIL):
            return {}
        return {name: fmean(result.metrics[name] for result in complete) for name in names}

    def violations(self, study: StudyConfig) -> dict[str, float]:
        """Measure -> by how much it is over its limit, zero or less if it is not; of a measured candidate."""
        measured = self.measured(study)
        return {name: measured[name] - limit for name, limit in study.search.constraints.items()}


class Candidates(list[Candidate]):
    """The candidates of a search, in their order."""

    def __init__(self, candidates: Iterable[Candidate] = ()) -> None:
        super().__init__(candidates)
        self._best: list[Candidate] = []
        self._open: list[Candidate] = []
        self._ranked = 0

    def observed(self, study: StudyConfig) -> list[Candidate]:
        """Those that the sampler learns from, in their order: some of the best and the latest, none that failed.

        What has ended keeps its score, so the best ones are gone on with: the cost does not grow with the search.
        """
        # One that was pruned has no value for a second objective.
        hidden = {Outcome.FAIL} if len(study.search.objective) == 1 else {Outcome.FAIL, Outcome.PRUNED}
        start = max(0, len(self) - LATEST_OBSERVED)
        chosen = sorted(self._best_before(start), key=lambda candidate: candidate.number) + self[start:]
        return [candidate for candidate in chosen if candidate.outcome not in hidden]

    def _best_before(self, end: int) -> list[Candidate]:
        """The best scored of the first candidates, the earlier one of equals; `end` never becomes less."""
        fresh = [*self._open, *self[self._ranked : end]]
        self._ranked = end
        self._open = [candidate for candidate in fresh if candidate.outcome is Outcome.RUNNING]
        ended = [candidate for candidate in fresh if candidate.outcome is not Outcome.RUNNING]
        self._best = _best_scored([*self._best, *ended])
        return _best_scored([*self._best, *self._open])


def _best_scored(candidates: Iterable[Candidate]) -> list[Candidate]:
    judged = [(candidate.score, candidate) for candidate in candidates if candidate.score is not None]
    judged.sort(key=lambda each: (-each[0], each[1].number))
    return [candidate for _, candidate in judged[:BEST_OBSERVED]]


class _ReadOnlyTrial(FrozenTrial):
    """A trial that nobody changes: Optuna copies deeply what it is given, which would be half of a proposal's cost."""

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTrial:
        del memo
        return copy.copy(self)


def as_optuna_trial(study: StudyConfig, candidate: Candidate) -> FrozenTrial:
    """The candidate as Optuna's samplers take it."""
    judged = candidate.measured(study)
    state = STATES[Outcome.COMPLETE if judged else candidate.outcome]
    now = datetime.now()
    trial = _ReadOnlyTrial(
        # Optuna gives it both numbers.
        number=-1,
        trial_id=-1,
        state=state,
        value=None,
        values=[judged[name] for name in study.search.objective] if judged else None,
        datetime_start=now,
        datetime_complete=now if state.is_finished() else None,
        params=dict(candidate.values),
        distributions=dict(candidate.distributions),
        user_attrs={},
        system_attrs={},
        intermediate_values=dict(candidate.curve) if candidate.outcome is Outcome.PRUNED and not judged else {},
    )
    for name, excess in candidate.violations(study).items() if judged else ():
        trial.set_constraint(name, excess)
    return trial
