"""Phases of a study, one after another: their trials, their ends, and the limits of the budget that end them early."""

from __future__ import annotations

from enum import Enum

from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.baselines import baseline_trials
from dabo_ray.planning.budget import BudgetTracker, Usage
from dabo_ray.planning.final_phase import FinalPhase
from dabo_ray.planning.search import SearchPhase
from dabo_ray.planning.trial_states import TrialStates
from dabo_ray.planning.trial_store import StoredTrial, TrialStore
from dabo_ray.trials import LEARNED, Phase, Trial

BEFORE_FINAL = (Phase.BASELINES, Phase.SEARCH)

GIVE_UP_AFTER = 3
"""So many failures with nothing else ended mean that the fault lies in the study, or in the machine, not in a trial."""


class NoTrial(Enum):
    """What stands in the place of the next trial when there is none."""

    WAIT = "ask again when a running trial has ended"
    DONE = "the study has ended"


class Phases:
    """The phases as they stand.

    Args:
        study: the checked study file.
        store: where new trials are written, and which phases are closed.
        budget: of the study.
        states: of all trials of the study.
        search: the second phase.
    """

    def __init__(
        self, study: StudyConfig, store: TrialStore, budget: BudgetTracker, states: TrialStates, search: SearchPhase
    ) -> None:
        self._study = study
        self._store = store
        self._budget = budget
        self._states = states
        self._baselines = baseline_trials(study)
        self._search = search
        self._final = FinalPhase(study, self._baselines, search, states)
        self._closed = store.closed_phases()

    def next(self) -> StoredTrial | NoTrial:
        """The next trial, written to the store: first what an earlier driver left unfinished, then phase by phase.

        A phase whose next trial the budget cannot bear is closed as soon as nothing runs that may leave room.
        """
        if self.is_done:
            return NoTrial.DONE
        if self.failure_reason or self.machine_fault:
            return NoTrial.WAIT
        if self._states.unfinished:
            return self._states.unfinished[0]
        for phase, create in ((Phase.BASELINES, self._next_baseline), (Phase.SEARCH, self._next_search)):
            if self._has_more(phase):
                limit = self._budget.limit_reached(self._expected(phase), self._reserve(phase))
                if not limit:
                    return create()
                if self._states.runs_before_final():
                    # One that is pruned may leave room.
                    return NoTrial.WAIT
                self._close(phase, limit)
        return NoTrial.WAIT if self._states.runs_before_final() else self._next_final()

    def _next_baseline(self) -> StoredTrial:
        return self._store.create(self._baseline())

    def _baseline(self) -> Trial:
        """The first that was not issued."""
        return self._baselines[len(self._states.issued[Phase.BASELINES])]

    def _next_search(self) -> StoredTrial:
        if not self._states.suspended:
            return self._search.next()
        stored = self._store.create_again(next(iter(self._states.suspended.values())))
        self._search.restore(stored)
        return stored

    def _next_final(self) -> StoredTrial | NoTrial:
        trial = None if self.is_closed(Phase.FINAL) else self._final.next()
        if trial is None:
            return NoTrial.DONE if self.is_done else NoTrial.WAIT
        expected = self._budget.cost(trial.method, trial.epochs, trial.origin) + self._budget.under_way()
        limit = self._budget.limit_reached(expected, Usage())
        if not limit:
            return self._store.create(trial)
        if self._states.running:
            return NoTrial.WAIT
        self._close(Phase.FINAL, limit)
        return NoTrial.DONE

    def _expected(self, phase: Phase) -> Usage:
        """What the next trial of a phase before the final one is expected to use, with those that run."""
        if phase is Phase.SEARCH:
            cost = self._budget.cost(LEARNED, self._search.estimated_epochs())
        else:
            cost = self._budget.cost(self._baseline().method, self._baseline().epochs)
        return cost + self._budget.under_way()

    def _reserve(self, phase: Phase) -> Usage:
        """What is kept for later phases; every baseline is tried once in any case, and then leaves room to search."""
        if phase is Phase.SEARCH:
            return self._budget.final_phase()
        is_needed = len(self._states.issued[phase]) < len(self._study.arms)
        return Usage() if is_needed else self._budget.first_candidates() + self._budget.final_phase()

    def _has_more(self, phase: Phase) -> bool:
        """Whether a phase before the final one has trials to start, new or suspended ones."""
        if self.is_closed(phase):
            return False
        is_left = phase is Phase.SEARCH and bool(self._states.suspended)
        return is_left or len(self._states.issued[phase]) < self.planned(phase)

    def _close(self, phase: Phase, limit: str) -> None:
        """Ends a phase, until it is extended, before all trials were issued, and those that would have gone on."""
        num_issued = len(self._states.issued[phase])
        self._closed[phase] = f"{limit}; {phase} ended after {num_issued} of {self._planned_whole(phase)} trials"
        self._store.close_phase(phase, self._closed[phase])
        if phase is Phase.SEARCH:
            for stored in self._states.suspended.values():
                self.trial_ended(stored)
            self._states.suspended.clear()

    def is_closed(self, phase: Phase) -> bool:
        """Whether the budget ended it early; a study that is extended opens it again."""
        return phase in self._closed

    @property
    def why_closed(self) -> str:
        """Which limit of the budget ended which phase early, with its numbers; empty if none did."""
        return "; ".join(self._closed.values())

    def trial_ended(self, stored: StoredTrial) -> None:
        """Takes in the end of a trial for good."""
        self._budget.end(stored.result.trial)
        self._states.end(stored.result)
        if stored.number is not None:
            self._search.trial_ended(stored)

    def trial_left(self, stored: StoredTrial) -> None:
        """Takes in that a trial is left to the next driver."""
        self._budget.end(stored.result.trial)
        self._states.leave(stored)
        if stored.number is not None:
            self._search.trial_left(stored)

    def planned(self, phase: Phase) -> int:
        """Trials of a phase, as far as is known; there may be fewer when trials fail or the budget ends."""
        return len(self._states.issued[phase]) if self.is_closed(phase) else self._planned_whole(phase)

    def _planned_whole(self, phase: Phase) -> int:
        if phase is Phase.BASELINES:
            return len(self._baselines)
        if phase is Phase.SEARCH:
            return self._search.planned
        return self._final.planned(self._final_is_known)

    @property
    def _final_is_known(self) -> bool:
        """Whether all before the final phase has ended."""
        return not any(
            self._has_more(phase) or self._states.num_over(phase) < self.planned(phase) for phase in BEFORE_FINAL
        )

    def final_trials(self) -> list[Trial]:
        """The final trials that count now; none before the first of them was issued."""
        return self._final.trials() if self._states.issued[Phase.FINAL] else []

    @property
    def failure_reason(self) -> str:
        """Why the study is given up: its first trials, or all before the final phase, failed. Empty if it is not."""
        first = self.planned(Phase.BASELINES) + self.planned(Phase.SEARCH)
        return self._states.reason_if_all_failed(at_least=min(GIVE_UP_AFTER, first))

    @property
    def machine_fault(self) -> str:
        """Which fault of the machine stops every trial, so that the study has to wait; empty if none does."""
        return self._states.reason_if_left(in_a_row=GIVE_UP_AFTER)

    @property
    def is_done(self) -> bool:
        """Whether nothing runs and nothing is left to run: all that was planned has ended, or the study is given up.

        What a fault of the machine has stopped is left to the next driver.
        """
        if self._states.running:
            return False
        if self.failure_reason or self.machine_fault:
            return True
        if not self._final_is_known or self._states.unfinished:
            return False
        return self.is_closed(Phase.FINAL) or self._final.next() is None
