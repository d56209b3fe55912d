"""States of the trials of a study: issued, running, left unfinished, suspended, ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from dabo_ray.planning.trial_store import StoredTrial
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult


class TrialStates:
    """Where each trial of a study stands; every issued one is in exactly one of the five other places."""

    def __init__(self) -> None:
        self.issued: dict[Phase, dict[str, Trial]] = {phase: {} for phase in Phase}
        self.running: dict[str, StoredTrial] = {}
        self.unfinished: list[StoredTrial] = []
        """Issued by an earlier driver, which did not see their end, or taken back to be tried again."""
        self.left: dict[str, StoredTrial] = {}
        """Stopped by a fault of the machine, and left to the next driver."""
        self._left_in_a_row = 0
        self.suspended: dict[str, StoredTrial] = {}
        """Ended by the budget; they go on if there is more of it."""
        self.ended: dict[Phase, dict[str, TrialResult]] = {phase: {} for phase in Phase}

    def issue(self, trial: Trial) -> None:
        """Notes that a trial exists, once more if it goes on after it was suspended."""
        self.suspended.pop(trial.name, None)
        self.issued[trial.phase][trial.name] = trial

    def start(self, stored: StoredTrial) -> Trial:
        """Notes that a trial runs."""
        trial = stored.result.trial
        self.unfinished = [other for other in self.unfinished if other is not stored]
        self.issue(trial)
        self.running[trial.name] = stored
        return trial

    def leave(self, stored: StoredTrial) -> None:
        """Notes that this driver does not go on with a trial."""
        self.left[stored.result.trial.name] = stored
        self._left_in_a_row += 1

    def reason_if_left(self, in_a_row: int) -> str:
        """Which fault of the machine stopped the last trials, if it was so many; empty otherwise."""
        return [*self.left.values()][-1].result.reason if self._left_in_a_row >= in_a_row else ""

    def num_over(self, phase: Phase) -> int:
        """Trials of a phase that this driver has nothing to do with any more."""
        return len(self.ended[phase]) + sum(stored.result.trial.phase is phase for stored in self.left.values())

    def end(self, result: TrialResult) -> None:
        """Notes the end of a trial for good."""
        self._left_in_a_row = 0
        self.ended[result.trial.phase][result.trial.name] = result

    def runs_before_final(self) -> bool:
        """Whether a baseline or a search trial is running."""
        return any(stored.result.trial.phase is not Phase.FINAL for stored in self.running.values())

    def reason_if_all_failed(self, at_least: int) -> str:
        """The first reason for failing, if so many trials have ended and all of them failed; empty otherwise."""
        if sum(map(len, self.ended.values())) < at_least:
            return ""
        reason = ""
        for result in self._all_ended():
            if result.outcome is not Outcome.FAIL:
                return ""
            reason = reason or result.reason
        return reason

    def results(self, final_trials: Mapping[str, Trial]) -> list[TrialResult]:
        """Every started trial, by phase and in the order of ending; running ones last.

        Args:
            final_trials: those that count now, by name, under their present arms.
        """
        suspended = [stored.result for stored in self.suspended.values()]
        kept = [
            result
            for result in (*self._all_ended(), *suspended)
            if result.trial.phase is not Phase.FINAL or result.trial.name in final_trials
        ]
        running = [stored.result for stored in (*self.running.values(), *self.unfinished, *self.left.values())]
        return [
            replace(result, trial=final_trials.get(result.trial.name, result.trial)) for result in [*kept, *running]
        ]

    def _all_ended(self) -> Iterator[TrialResult]:
        return (result for of_phase in self.ended.values() for result in of_phase.values())
