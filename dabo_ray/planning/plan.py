"""Which trial is next, what its report means, and when the study is done: pure Python, no Ray.

The store keeps every trial as it was issued and how it ended, so a plan that is opened again goes on as if it had never
been closed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path

from dabo_ray.config.addresses import database_url
from dabo_ray.config.file import read_study
from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.baselines import baseline_trials
from dabo_ray.planning.budget import Ledger, Use
from dabo_ray.planning.final_phase import Finals
from dabo_ray.planning.phases import Phases
from dabo_ray.planning.search import Search
from dabo_ray.planning.store import GIVEN_UP, SUSPENDED, Row, Store
from dabo_ray.planning.trial_states import Roster
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import LEARNED, Outcome, Phase, Trial, TrialResult

GIVE_UP_AFTER = 3
"""So many failures with nothing else ended mean that the fault lies in the study, not in a trial."""


class Signal(Enum):
    """What `Plan.next` says when there is no trial."""

    WAIT = "ask again when a running trial has ended"
    DONE = "the study has ended"


class Plan:
    """The course of one study.

    Args:
        study: the checked study file.
        url: Optuna storage; what is found there under the study's name is gone on with.
        clock: seconds since any moment, for the budget of wall time.
        only_read: whether it is only looked at, also when settings had other defaults while it ran.

    Raises:
        ValueError: the storage cannot be opened, or holds a study of this name with other settings.
    """

    def __init__(
        self, study: StudyConfig, url: str, clock: Callable[[], float] = time.monotonic, *, only_read: bool = False
    ) -> None:
        self.study = study
        self._store = Store(study, url, only_read=only_read)
        earlier, start = self.wall_seconds, clock()
        self.ledger = Ledger(study, lambda: earlier + clock() - start)
        self._search = Search(study, self._store)
        self._baselines = baseline_trials(study)
        self._roster = Roster()
        self._finals = Finals(study, self._baselines, self._search, self._roster)
        self._phases = Phases(self._store, self._roster, self._baselines, self._search, self._finals)
        for row in self._store.rows:
            self._recall(row)

    def _recall(self, row: Row) -> None:
        trial = row.result.trial
        # One that failed before it could stop has ended.
        is_suspended = SUSPENDED in row.notes and row.result.outcome is Outcome.PRUNED
        self._roster.issue(trial)
        self.ledger.begin(trial)
        self.ledger.note(trial, row.result.metrics)
        if row.number is not None:
            self._search.recall(row)
        if row.result.outcome is Outcome.RUNNING:
            self._roster.unfinished.append(row)
        elif is_suspended and not self._phases.is_closed(trial.phase):
            self._suspend(row)
        else:
            self._note_end(row)

    def next(self) -> Trial | Signal:
        """The next trial to run, one that an earlier driver left unfinished before all others."""
        if self.is_done:
            return Signal.DONE
        if self.fault:
            return Signal.WAIT
        if self._roster.unfinished:
            return self._start_trial(self._roster.unfinished.pop(0))
        for phase, fresh in ((Phase.BASELINES, self._next_baseline), (Phase.SEARCH, self._next_search)):
            if self._phases.has_more(phase):
                limit = self.ledger.limit_reached(self._expected(phase), self._reserve(phase))
                if not limit:
                    return self._start_trial(fresh())
                if self._roster.runs_before_the_finals():
                    # One that is pruned may leave room.
                    return Signal.WAIT
                self._close(phase, limit)
        if self._roster.runs_before_the_finals():
            return Signal.WAIT
        return self._next_final_trial()

    def _expected(self, phase: Phase) -> Use:
        """What the next trial of a phase is expected to use."""
        if phase is Phase.SEARCH:
            cost = self.ledger.cost(LEARNED, self._search.estimated_epochs())
        else:
            trial = self._baselines[len(self._roster.issued[phase])]
            cost = self.ledger.cost(trial.method, trial.epochs)
        return cost + self.ledger.under_way()

    def _reserve(self, phase: Phase) -> Use:
        """What is kept for later phases; every baseline is tried once in any case, and then leaves room to search."""
        if phase is Phase.SEARCH:
            return self.ledger.final_phase()
        is_needed = len(self._roster.issued[phase]) < len(self.study.arms)
        return Use() if is_needed else self.ledger.first_settings() + self.ledger.final_phase()

    def _close(self, phase: Phase, limit: str) -> None:
        """Ends a phase early, and with it those of its trials that would have gone on."""
        self._phases.close(phase, limit)
        if phase is Phase.SEARCH:
            for row in self._roster.suspended.values():
                self._note_end(row)
            self._roster.suspended.clear()

    @property
    def budget_note(self) -> str:
        """Which limit of the budget ended which phase early, with its numbers; empty if none did."""
        return self._phases.why_closed

    def _start_trial(self, row: Row) -> Trial:
        trial = self._roster.start(row)
        self.ledger.begin(trial)
        return trial

    def _next_baseline(self) -> Row:
        return self._store.create(self._baselines[len(self._roster.issued[Phase.BASELINES])])

    def _next_search(self) -> Row:
        if not self._roster.suspended:
            return self._search.next()
        row = self._store.create_again(next(iter(self._roster.suspended.values())))
        self._search.recall(row)
        return row

    def _next_final_trial(self) -> Trial | Signal:
        final = None if self._phases.is_closed(Phase.FINAL) else self._finals.next()
        if final is None:
            return Signal.DONE if self.is_done else Signal.WAIT
        expected = self.ledger.cost(final.method, final.epochs, final.origin) + self.ledger.under_way()
        limit = self.ledger.limit_reached(expected, Use())
        if not limit:
            return self._start_trial(self._store.create(final))
        if self._roster.running:
            return Signal.WAIT
        self._close(Phase.FINAL, limit)
        return Signal.DONE

    def planned(self, phase: Phase) -> int:
        """Trials of a phase, as far as is known; there may be fewer when trials fail or the budget ends."""
        return self._phases.planned(phase)

    def report(self, name: str, metrics: Mapping[str, float]) -> str:
        """Notes the epoch of a running trial; why the trial should stop now, empty if it should not."""
        row = self._roster.running[name]
        trial = row.result.trial
        self.ledger.note(trial, metrics)
        accuracy = metrics.get("select_accuracy", math.nan)
        if not math.isfinite(accuracy):
            return ""
        epoch, is_search = int(metrics["epoch"]), row.number is not None
        # A trial that goes on after a crash begins with the epoch that was its last.
        if epoch > max(row.values, default=0):
            self._store.report(row, epoch, accuracy)
            if is_search:
                self._search.report(row, epoch, accuracy)
        if not is_search or epoch >= trial.epochs:
            return ""
        if GIVEN_UP in row.notes:
            return str(row.notes[GIVEN_UP])
        return self._search.reason_to_stop(row, epoch) or self._reason_to_suspend(row)

    def _reason_to_suspend(self, row: Row) -> str:
        """Why the budget cannot bear that a search trial goes on: what is kept for the final phase is all there is."""
        limit = self.ledger.limit_reached(Use(), self.ledger.final_phase())
        if limit:
            self._store.note(row, SUSPENDED, True)
            self._store.note(row, GIVEN_UP, limit)
        return limit

    def finish(self, name: str, outcome: Outcome, metrics: Mapping[str, float], reason: str = "") -> TrialResult:
        """Ends a running trial for good. One that is complete but has no accuracy has failed."""
        row = self._roster.running.pop(name)
        trial = row.result.trial
        finite = {key: value for key, value in metrics.items() if math.isfinite(value)}
        objective = "test_accuracy" if trial.phase is Phase.FINAL else "select_accuracy"
        if outcome is Outcome.COMPLETE and objective not in finite:
            outcome, reason = Outcome.FAIL, f"it ended without a {objective}"
        if outcome is Outcome.COMPLETE and row.number is not None and (verdict := self._search.verdict(row, finite)):
            outcome, reason = Outcome.PRUNED, verdict
        value = finite[objective] if outcome is Outcome.COMPLETE else None
        result = TrialResult(trial=trial, outcome=outcome, reason=reason, metrics=finite)
        self._store.finish(row, result, value)
        self.ledger.note(trial, finite)
        if SUSPENDED in row.notes and outcome is Outcome.PRUNED:
            self._suspend(row)
        else:
            self._note_end(row)
        return result

    def _suspend(self, row: Row) -> None:
        self.ledger.end(row.result.trial)
        self._roster.suspended[row.result.trial.name] = row

    def is_suspended(self, name: str) -> bool:
        """Whether a trial was ended by the budget, and goes on from its checkpoint if there is more of it."""
        return name in self._roster.suspended

    def _note_end(self, row: Row) -> None:
        result = row.result
        self.ledger.end(result.trial)
        self._roster.end(result)
        if row.number is not None:
            self._search.ended(row)

    @property
    def fault(self) -> str:
        """Why the study is given up: its first trials, or all before the finals, failed. Empty while it may go on."""
        first = self.planned(Phase.BASELINES) + self.planned(Phase.SEARCH)
        return self._roster.reason_if_all_failed(at_least=min(GIVE_UP_AFTER, first))

    @property
    def is_done(self) -> bool:
        """Whether nothing runs and nothing is left to run: all that was planned has ended, or the study is given up."""
        if self._roster.running:
            return False
        if self.fault:
            return True
        if not self._phases.finals_are_known or self._roster.unfinished:
            return False
        return self._phases.is_closed(Phase.FINAL) or self._finals.next() is None

    def results(self) -> list[TrialResult]:
        """Every started trial, by phase and in the order of ending; running ones last.

        Of the final phase those that compare what are the best settings now, each under its present arm: after a study
        was extended, they may be others than before.
        """
        finals = self._finals.trials() if self._roster.issued[Phase.FINAL] else []
        return self._roster.results({trial.name: trial for trial in finals})

    @property
    def wall_seconds(self) -> float:
        """Time that earlier drivers spent on the study."""
        return float(self._store.fact("wall_seconds") or 0.0)

    def add_wall_seconds(self, seconds: float) -> None:
        """Adds this driver's time."""
        self._store.keep_fact("wall_seconds", self.wall_seconds + seconds)


def read_results(folder: Path) -> list[TrialResult]:
    """The trials of the study in a folder, as they stand.

    Raises:
        ValueError: the study file or the database there cannot be read.
    """
    files = StudyFolder(folder)
    study = read_study(files.study_file)
    return Plan(study, database_url(study, files), only_read=True).results()
