"""Search phase of a study: its candidates and their trials, pruned or repeated on more seeds, and the best of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from dabo_ray.analysis.pareto import pareto_front
from dabo_ray.config.key_paths import with_settings
from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.candidates import Candidate, Candidates
from dabo_ray.planning.pruning import Pruning, are_worse
from dabo_ray.planning.sampling import grid_of, propose
from dabo_ray.planning.trial_store import GIVEN_UP, StoredTrial, TrialStore
from dabo_ray.seeds import derive
from dabo_ray.trials import LEARNED, Outcome, Phase, Trial, TrialResult


class SearchPhase:
    """The search phase as it stands.

    Args:
        study: the checked study file.
        store: where new trials are written.
    """

    def __init__(self, study: StudyConfig, store: TrialStore) -> None:
        self.study = study
        self._store = store
        self._candidates = Candidates()
        self._pruning = Pruning(study)
        self._to_repeat: deque[Candidate] = deque()
        self._not_repeated = 0
        self._num_candidates = study.search.trials if study.final.top else 0
        self._fixed: list[dict[str, Any]] = list(study.search.enqueue)
        if study.search.sampler == "grid":
            self._fixed += grid_of(study)
            self._num_candidates = min(self._num_candidates, len(self._fixed))

    @property
    def planned(self) -> int:
        """Trials, as far as is known: a candidate that is given up is not tried on its other seeds."""
        return self._num_candidates * self.study.search.repeats - self._not_repeated

    def restore(self, stored: StoredTrial) -> None:
        """Takes in a trial that an earlier driver issued; `trial_ended` is told apart."""
        trial = stored.result.trial
        assert stored.number is not None
        if stored.number == len(self._candidates):
            repeats = self.study.search.repeats
            self._candidates.append(Candidate(stored.number, trial.settings, stored.distributions, repeats=repeats))
        elif self._candidates[stored.number] in self._to_repeat:
            self._to_repeat.remove(self._candidates[stored.number])
        self._pruning.add(stored)

    def next(self) -> StoredTrial:
        """A new trial: the next seed of a candidate that goes on, or else of a new candidate."""
        fresh = None
        if self._to_repeat:
            candidate = self._to_repeat[0]
        else:
            number = len(self._candidates)
            fixed = self._fixed[number] if number < len(self._fixed) else {}
            candidate = fresh = propose(self.study, number, self._candidates.observed(self.study), fixed)
        stored = self._store.create(self._trial(candidate), candidate.number, candidate.distributions)
        if fresh:
            self._candidates.append(fresh)
        else:
            self._to_repeat.popleft()
        self._pruning.add(stored)
        return stored

    def estimated_epochs(self) -> int:
        """Epochs of the next trial, as far as is known before it is drawn."""
        return self._epochs(self._to_repeat[0]) if self._to_repeat else self.study.classifier.epochs

    def _epochs(self, candidate: Candidate) -> int:
        return with_settings(self.study, candidate.values).classifier.epochs

    def _trial(self, candidate: Candidate) -> Trial:
        repeat, base = len(candidate.results), f"search-{candidate.number:04d}"
        # With one seed each, every candidate has its own; with several, all have the same, to be compared by pairs.
        purpose = ("repeat", repeat) if self.study.search.repeats > 1 else (candidate.number,)
        return Trial(
            name=f"{base}-repeat-{repeat}" if repeat else base,
            phase=Phase.SEARCH,
            arm=LEARNED,
            method=LEARNED,
            settings=candidate.values,
            seed=derive(self.study.seed, Phase.SEARCH, *purpose) % 2**31,
            epochs=self._epochs(candidate),
            score=self.study.score,
            origin=base if repeat else None,
        )

    def report(self, stored: StoredTrial, epoch: int, score: float) -> None:
        """Shows an epoch to the pruner."""
        self._pruning.report(stored.result.trial.name, epoch, score)

    def reason_to_stop(self, stored: StoredTrial, epoch: int) -> str:
        """Why a trial should stop after an epoch; empty if it should not. What the pruner remembers is kept."""
        name = stored.result.trial.name
        reason = ""
        if self._pruning.should_stop(name):
            reason = f"{self.study.search.pruner.name}: behind its peers at epoch {epoch}"
            # First of all, since a pruner does not give the same answer twice.
            self._store.note(stored, GIVEN_UP, reason)
        for key, value in self._pruning.notes(name).items():
            if key not in stored.notes:
                self._store.note(stored, key, value)
        return reason

    def reason_not_to_repeat(self, stored: StoredTrial, metrics: Mapping[str, float]) -> str:
        """Why a complete trial is the last of its candidate although there are more seeds; empty if it is not."""
        assert stored.number is not None
        candidate, pruner = self._candidates[stored.number], self.study.search.pruner
        if pruner.name != "wilcoxon" or len(candidate.results) + 1 >= candidate.repeats:
            return ""
        whole = [other for other in self._candidates if other.outcome is Outcome.COMPLETE]
        best = max(whole, key=lambda other: (other.score, -other.number), default=None)
        if best is None:
            return ""
        ours = [*_scores(candidate), metrics[stored.result.trial.select_metric]]
        if not are_worse(ours, _scores(best), pruner.p_value):
            return ""
        return f"wilcoxon: worse than search-{best.number:04d} on {len(ours)} seeds"

    def trial_ended(self, stored: StoredTrial) -> None:
        """Takes in the end of a trial."""
        assert stored.number is not None
        candidate, result = self._candidates[stored.number], stored.result
        candidate.add(result, stored.values)
        self._pruning.end(result.trial.name, result.outcome, result.metrics.get(result.trial.select_metric))
        if candidate.outcome is Outcome.RUNNING:
            self._to_repeat.append(candidate)
        else:
            self._not_repeated += candidate.repeats - len(candidate.results)

    def trial_left(self, stored: StoredTrial) -> None:
        """Takes in that a trial is left to the next driver, and its candidate's other seeds with it."""
        assert stored.number is not None
        candidate = self._candidates[stored.number]
        self._not_repeated += candidate.repeats - len(candidate.results) - 1

    def best(self, top: int) -> list[TrialResult]:
        """The first trials of the best candidates, the best scored first.

        A candidate counts when it is complete and within the constraints. With several objectives it must also be on
        the Pareto front, so there may be fewer than asked for.
        """
        whole = [
            candidate
            for candidate in self._candidates
            if candidate.outcome is Outcome.COMPLETE
            and candidate.measured(self.study)
            and all(excess <= 0 for excess in candidate.violations(self.study).values())
        ]
        whole.sort(key=lambda candidate: (-(candidate.score or 0.0), candidate.number))
        objective = self.study.search.objective
        if len(objective) > 1:
            whole = pareto_front(whole, objective, lambda candidate: candidate.measured(self.study))
        return [candidate.results[0] for candidate in whole[:top]]


def _scores(candidate: Candidate) -> list[float]:
    return [result.metrics[result.trial.select_metric] for result in candidate.results]
