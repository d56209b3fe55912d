"""Plan of a study: its next trial, the reports of running ones, their ends and results. Pure Python, no Ray.

The store keeps every trial as it was issued and how it ended, so a plan that is opened again goes on as if it had never
been closed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from dabo_ray.config.addresses import database_url
from dabo_ray.config.file import read_study
from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.budget import BudgetTracker, Usage
from dabo_ray.planning.driver_lock import plan_held
from dabo_ray.planning.phases import NoTrial, Phases
from dabo_ray.planning.search import SearchPhase
from dabo_ray.planning.trial_states import TrialStates
from dabo_ray.planning.trial_store import GIVEN_UP, SUSPENDED, StoredTrial, TrialStore
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult


class Plan:
    """The plan of one study; asked for trials and told of them, as an Optuna study is by `ask` and `tell`.

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
        self._store = TrialStore(study, url, only_read=only_read)
        earlier, start = self.wall_seconds, clock()
        self.budget = BudgetTracker(study, lambda: earlier + clock() - start)
        self._states = TrialStates()
        self._search = SearchPhase(study, self._store)
        self._phases = Phases(study, self._store, self.budget, self._states, self._search)
        for stored in self._store.trials:
            self._restore(stored)

    def _restore(self, stored: StoredTrial) -> None:
        trial = stored.result.trial
        # One that failed before it could stop has ended.
        is_suspended = SUSPENDED in stored.notes and stored.result.outcome is Outcome.PRUNED
        self._states.issue(trial)
        self.budget.begin(trial)
        self.budget.note(trial, stored.result.metrics)
        if stored.number is not None:
            self._search.restore(stored)
        if stored.result.outcome is Outcome.RUNNING:
            self._states.unfinished.append(stored)
        elif is_suspended and not self._phases.is_closed(trial.phase):
            self._suspend(stored)
        else:
            self._phases.trial_ended(stored)

    def next(self) -> Trial | NoTrial:
        """The next trial to run, one that an earlier driver left unfinished before all others."""
        stored = self._phases.next()
        if isinstance(stored, NoTrial):
            return stored
        if stored.result.reason:
            self._store.leave(stored, replace(stored.result, reason=""))
        trial = self._states.start(stored)
        self.budget.begin(trial)
        return trial

    @property
    def budget_note(self) -> str:
        """Which limit of the budget ended which phase early, with its numbers; empty if none did."""
        return self._phases.why_closed

    def planned(self, phase: Phase) -> int:
        """See `Phases.planned`."""
        return self._phases.planned(phase)

    def report(self, name: str, metrics: Mapping[str, float]) -> str:
        """Notes the epoch of a running trial; why the trial should stop now, empty if it should not."""
        stored = self._states.running[name]
        trial = stored.result.trial
        self.budget.note(trial, metrics)
        score = metrics.get(trial.select_metric, math.nan)
        if not math.isfinite(score):
            return ""
        epoch, is_search = int(metrics["epoch"]), stored.number is not None
        # A trial that goes on after a crash begins with the epoch that was its last.
        if epoch > max(stored.values, default=0):
            self._store.report(stored, epoch, score)
            if is_search:
                self._search.report(stored, epoch, score)
        if not is_search or epoch >= trial.epochs:
            return ""
        if GIVEN_UP in stored.notes:
            return str(stored.notes[GIVEN_UP])
        return self._search.reason_to_stop(stored, epoch) or self._reason_to_suspend(stored)

    def _reason_to_suspend(self, stored: StoredTrial) -> str:
        """Why the budget cannot bear that a search trial goes on: what is kept for the final phase is all there is."""
        limit = self.budget.limit_reached(Usage(), self.budget.final_phase())
        if limit:
            self._store.note(stored, SUSPENDED, True)
            self._store.note(stored, GIVEN_UP, limit)
        return limit

    def finish(self, name: str, outcome: Outcome, metrics: Mapping[str, float], reason: str = "") -> TrialResult:
        """Ends a running trial for good. One that is complete but has no score has failed."""
        stored = self._states.running[name]
        trial = stored.result.trial
        finite = _finite(metrics)
        objective = trial.test_metric if trial.phase is Phase.FINAL else trial.select_metric
        if outcome is Outcome.COMPLETE and objective not in finite:
            outcome, reason = Outcome.FAIL, f"it ended without a {objective}"
        if (
            outcome is Outcome.COMPLETE
            and stored.number is not None
            and (why := self._search.reason_not_to_repeat(stored, finite))
        ):
            outcome, reason = Outcome.PRUNED, why
        value = finite[objective] if outcome is Outcome.COMPLETE else None
        result = TrialResult(trial=trial, outcome=outcome, reason=reason, metrics=finite)
        self._store.finish(stored, result, value)
        # Not before: it still runs if the store could not take its end.
        del self._states.running[name]
        self.budget.note(trial, finite)
        if SUSPENDED in stored.notes and outcome is Outcome.PRUNED:
            self._suspend(stored)
        else:
            self._phases.trial_ended(stored)
        return result

    def take_back(self, name: str) -> None:
        """Puts a running trial back, to be issued again, before all others, and to go on from its checkpoint."""
        self._states.unfinished.append(self._states.running.pop(name))

    @property
    def running(self) -> list[str]:
        """Names of the running trials."""
        return list(self._states.running)

    def leave(self, name: str, metrics: Mapping[str, float], reason: str) -> TrialResult:
        """Leaves a running trial to the next driver, since a fault of the machine stops it here.

        Args:
            name: of the trial.
            metrics: of its last epoch.
            reason: the fault, and what to do about it.
        """
        stored = self._states.running[name]
        finite = _finite(metrics)
        self._store.leave(stored, replace(stored.result, metrics=finite, reason=reason))
        self.budget.note(stored.result.trial, finite)
        del self._states.running[name]
        self._phases.trial_left(stored)
        return stored.result

    @property
    def left(self) -> list[TrialResult]:
        """Trials that this driver has left to the next one, each with its reason."""
        return [stored.result for stored in self._states.left.values()]

    @property
    def machine_fault(self) -> str:
        """See `Phases.machine_fault`."""
        return self._phases.machine_fault

    def _suspend(self, stored: StoredTrial) -> None:
        self.budget.end(stored.result.trial)
        self._states.suspended[stored.result.trial.name] = stored

    def is_suspended(self, name: str) -> bool:
        """Whether a trial was ended by the budget, and goes on from its checkpoint if there is more of it."""
        return name in self._states.suspended

    @property
    def failure_reason(self) -> str:
        """See `Phases.failure_reason`."""
        return self._phases.failure_reason

    @property
    def is_done(self) -> bool:
        """See `Phases.is_done`."""
        return self._phases.is_done

    def results(self) -> list[TrialResult]:
        """Every started trial, by phase and in the order of ending; running ones last.

        Of the final phase those that compare what are the best settings now, each under its present arm: after a study
        was extended, they may be others than before.
        """
        return self._states.results({trial.name: trial for trial in self._phases.final_trials()})

    @property
    def home(self) -> str:
        """The folder that the study's files are in, as its last driver saw it; empty before the first."""
        return str(self._store.fact("home") or "")

    def settle(self, folder: Path) -> None:
        """Keeps which folder the study's files are in."""
        if self.home != str(folder):
            self._store.keep_fact("home", str(folder))

    def held(self, folder: Path) -> AbstractContextManager[None]:
        """Holds the plan for a driver in a folder, see `driver_lock.plan_held`. What is held is to be opened anew."""
        return plan_held(self._store, folder)

    @property
    def wall_seconds(self) -> float:
        """Time that earlier drivers spent on the study."""
        return float(self._store.fact("wall_seconds") or 0.0)

    def add_wall_seconds(self, seconds: float) -> None:
        """Adds this driver's time."""
        self._store.keep_fact("wall_seconds", self.wall_seconds + seconds)


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in metrics.items() if math.isfinite(value)}


def read_results(folder: Path) -> list[TrialResult]:
    """The trials of the study in a folder, as they stand.

    Raises:
        ValueError: the study file or the database there cannot be read.
    """
    files = StudyFolder(folder)
    study = read_study(files.study_file)
    return Plan(study, database_url(study, files), only_read=True).results()
