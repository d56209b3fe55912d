"""Which trial is next, what its report means, and when the study is done: pure Python, no Ray.

The store keeps every trial as it was issued and how it ended, so a plan that is opened again goes on as if it had never
been closed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path

from dabo_ray.config import Study
from dabo_ray.seeds import derive
from dabo_ray.service.finals import final_trials, is_ready, planned_finals
from dabo_ray.service.pruning import Pruning
from dabo_ray.service.sampling import Setting, propose
from dabo_ray.service.store import Row, Store, database_url
from dabo_ray.study_file import read_study, with_settings
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult

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

    Raises:
        ValueError: the storage cannot be opened.
    """

    def __init__(self, study: Study, url: str) -> None:
        self.study = study
        self._store = Store(study, url)
        self._pruning = Pruning(study)
        self._running: dict[str, Row] = {}
        self._unfinished: list[Row] = []
        self._issued: dict[Phase, set[str]] = {phase: set() for phase in Phase}
        self._ended: dict[Phase, dict[str, TrialResult]] = {phase: {} for phase in Phase}
        self._settings: list[Setting] = []
        self._finals: list[Trial] | None = None
        for row in self._store.rows:
            self._recall(row)

    def _recall(self, row: Row) -> None:
        trial = row.result.trial
        self._issued[trial.phase].add(trial.name)
        if row.number is not None:
            self._settings.append(Setting(row.number, trial.settings, row.distributions))
            self._pruning.add(row)
        if row.result.outcome is Outcome.RUNNING:
            self._unfinished.append(row)
        else:
            self._note_end(row)

    def next(self) -> Trial | Signal:
        """The next trial to run, one that an earlier driver left unfinished before all others."""
        if self.is_done:
            return Signal.DONE
        if self.fault:
            return Signal.WAIT
        if self._unfinished:
            return self._start(self._unfinished.pop(0))
        for phase, fresh in ((Phase.BASELINES, self._next_baseline), (Phase.SEARCH, self._next_search)):
            if len(self._issued[phase]) < self.planned(phase):
                return self._start(fresh())
        if any(row.result.trial.phase is not Phase.FINAL for row in self._running.values()):
            return Signal.WAIT
        final = self._next_final()
        return self._start(self._store.create(final)) if final else Signal.WAIT

    def _start(self, row: Row) -> Trial:
        trial = row.result.trial
        self._issued[trial.phase].add(trial.name)
        self._running[trial.name] = row
        return trial

    def _next_baseline(self) -> Row:
        number = len(self._issued[Phase.BASELINES])
        name = self.study.baselines[number]
        trial = Trial(
            name=f"baseline-{name}",
            phase=Phase.BASELINES,
            arm=name,
            method=name,
            seed=_seed(self.study, Phase.BASELINES, number),
            epochs=self.study.classifier.epochs,
        )
        return self._store.create(trial)

    def _next_search(self) -> Row:
        setting = propose(self.study, len(self._settings), self._settings)
        trial = Trial(
            name=f"search-{setting.number:04d}",
            phase=Phase.SEARCH,
            arm="learned",
            method="learned",
            settings=setting.values,
            seed=_seed(self.study, Phase.SEARCH, setting.number),
            epochs=with_settings(self.study, setting.values).classifier.epochs,
        )
        row = self._store.create(trial, setting.number, setting.distributions)
        self._settings.append(setting)
        self._pruning.add(row)
        return row

    def _next_final(self) -> Trial | None:
        """The first final trial that was not begun and can be."""
        issued, ended = self._issued[Phase.FINAL], self._ended[Phase.FINAL]
        return next((t for t in self._final_trials() if t.name not in issued and is_ready(t, ended)), None)

    def planned(self, phase: Phase) -> int:
        """Trials of a phase, as far as is known; the final phase may have fewer when trials fail."""
        if phase is Phase.BASELINES:
            return len(self.study.baselines)
        if phase is Phase.SEARCH:
            return self.study.search.trials if self.study.final.top else 0
        if not self._is_final:
            return planned_finals(self.study)
        ended = self._ended[Phase.FINAL]
        return sum(t.origin not in ended or is_ready(t, ended) for t in self._final_trials())

    @property
    def _is_final(self) -> bool:
        """Whether all before the final phase has ended."""
        return all(len(self._ended[phase]) >= self.planned(phase) for phase in (Phase.BASELINES, Phase.SEARCH))

    def _final_trials(self) -> list[Trial]:
        """Every baseline that did not fail and the best settings, each on the same fresh seeds."""
        if self._finals is None:
            complete = [r for r in self._ended[Phase.SEARCH].values() if r.outcome is Outcome.COMPLETE]
            complete.sort(key=lambda r: (-r.metrics["select_accuracy"], r.trial.name))
            baselines = {r.trial.arm: r for r in self._ended[Phase.BASELINES].values() if r.outcome is Outcome.COMPLETE}
            self._finals = final_trials(self.study, baselines, complete[: self.study.final.top])
        return self._finals

    def report(self, name: str, metrics: Mapping[str, float]) -> bool:
        """Notes the epoch of a running trial; whether the trial should stop now."""
        row = self._running[name]
        accuracy = metrics.get("select_accuracy", math.nan)
        if not math.isfinite(accuracy):
            return False
        epoch, is_search = int(metrics["epoch"]), row.number is not None
        # A trial that goes on after a crash begins with the epoch that was its last.
        if epoch > max(row.values, default=0):
            self._store.report(row, epoch, accuracy)
            if is_search:
                self._pruning.report(name, epoch, accuracy)
        if is_search and epoch < row.result.trial.epochs and "given_up" not in row.notes:
            stop = self._pruning.should_stop(name)
            # Kept, since a pruner does not give the same answer twice.
            if stop:
                self._store.note(row, "given_up", epoch)
            for key, value in self._pruning.notes(name).items():
                if key not in row.notes:
                    self._store.note(row, key, value)
        return "given_up" in row.notes

    def finish(self, name: str, outcome: Outcome, metrics: Mapping[str, float], reason: str = "") -> TrialResult:
        """Ends a running trial for good. One that is complete but has no accuracy has failed."""
        row = self._running.pop(name)
        trial = row.result.trial
        finite = {key: value for key, value in metrics.items() if math.isfinite(value)}
        objective = "test_accuracy" if trial.phase is Phase.FINAL else "select_accuracy"
        if outcome is Outcome.COMPLETE and objective not in finite:
            outcome, reason = Outcome.FAIL, f"it ended without a {objective}"
        value = finite[objective] if outcome is Outcome.COMPLETE else None
        result = TrialResult(trial=trial, outcome=outcome, reason=reason, metrics=finite)
        self._store.finish(row, result, value)
        if row.number is not None:
            self._pruning.end(name, outcome, value)
        self._note_end(row)
        return result

    def _note_end(self, row: Row) -> None:
        result = row.result
        self._ended[result.trial.phase][result.trial.name] = result
        if result.trial.phase is not Phase.FINAL:
            self._finals = None
        if row.number is not None:
            setting = self._settings[row.number]
            setting.outcome, setting.curve = result.outcome, row.values
            setting.accuracy = result.metrics.get("select_accuracy")

    @property
    def fault(self) -> str:
        """Why the study is given up: its first trials, or all before the finals, failed. Empty while it may go on."""
        num_ended = sum(map(len, self._ended.values()))
        if num_ended < min(GIVE_UP_AFTER, self.planned(Phase.BASELINES) + self.planned(Phase.SEARCH)):
            return ""
        reason = ""
        for result in self._all_ended():
            if result.outcome is not Outcome.FAIL:
                return ""
            reason = reason or result.reason
        return reason

    @property
    def is_done(self) -> bool:
        """Whether nothing runs and nothing is left to run: all that was planned has ended, or the study is given up."""
        if self._running:
            return False
        if self.fault:
            return True
        return self._is_final and not self._unfinished and self._next_final() is None

    def results(self) -> list[TrialResult]:
        """Every started trial, by phase and in the order of ending; running ones last."""
        return [*self._all_ended(), *(row.result for row in (*self._running.values(), *self._unfinished))]

    def _all_ended(self) -> Iterator[TrialResult]:
        return (result for of_phase in self._ended.values() for result in of_phase.values())

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
    study = read_study(folder / "study.yaml")
    return Plan(study, database_url(study, folder)).results()


def _seed(study: Study, phase: Phase, number: int) -> int:
    return derive(study.seed, phase, number) % 2**31
