"""The search: which trial of which setting is next, when one is given up, and which settings were the best."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from dabo_ray.analysis.pareto import pareto_front
from dabo_ray.config.key_paths import with_settings
from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.history import Tried
from dabo_ray.planning.pruning import Pruning, are_worse
from dabo_ray.planning.sampling import grid_of, propose
from dabo_ray.planning.setting import Setting
from dabo_ray.planning.store import GIVEN_UP, Row, Store
from dabo_ray.seeds import derive
from dabo_ray.trials import LEARNED, Outcome, Phase, Trial, TrialResult


class Search:
    """The settings tried so far.

    Args:
        study: the checked study file.
        store: where new trials are written.
    """

    def __init__(self, study: StudyConfig, store: Store) -> None:
        self.study = study
        self._store = store
        self._settings = Tried()
        self._pruning = Pruning(study)
        self._to_repeat: deque[Setting] = deque()
        self._not_repeated = 0
        self._num_settings = study.search.trials if study.final.top else 0
        self._fixed: list[dict[str, Any]] = list(study.search.enqueue)
        if study.search.sampler == "grid":
            self._fixed += grid_of(study)
            self._num_settings = min(self._num_settings, len(self._fixed))

    @property
    def planned(self) -> int:
        """Trials, as far as is known: a setting that is given up is not tried on its other seeds."""
        return self._num_settings * self.study.search.repeats - self._not_repeated

    def recall(self, row: Row) -> None:
        """Takes in a trial that an earlier driver issued; `ended` is told apart."""
        trial = row.result.trial
        assert row.number is not None
        if row.number == len(self._settings):
            self._settings.append(self._setting(Setting(row.number, trial.settings, row.distributions)))
        elif self._settings[row.number] in self._to_repeat:
            self._to_repeat.remove(self._settings[row.number])
        self._pruning.add(row)

    def next(self) -> Row:
        """A new trial: the next seed of a setting that goes on, or else of a new setting."""
        fresh = None
        if self._to_repeat:
            setting = self._to_repeat[0]
        else:
            number = len(self._settings)
            fixed = self._fixed[number] if number < len(self._fixed) else {}
            setting = fresh = self._setting(propose(self.study, number, self._settings.shown(self.study), fixed))
        row = self._store.create(self._trial(setting), setting.number, setting.distributions)
        if fresh:
            self._settings.append(fresh)
        else:
            self._to_repeat.popleft()
        self._pruning.add(row)
        return row

    def estimated_epochs(self) -> int:
        """Epochs of the next trial, as far as is known before it is drawn."""
        return self._epochs(self._to_repeat[0]) if self._to_repeat else self.study.classifier.epochs

    def _setting(self, setting: Setting) -> Setting:
        setting.repeats = self.study.search.repeats
        return setting

    def _epochs(self, setting: Setting) -> int:
        return with_settings(self.study, setting.values).classifier.epochs

    def _trial(self, setting: Setting) -> Trial:
        repeat, base = len(setting.results), f"search-{setting.number:04d}"
        # With one seed each, every setting has its own; with several, all have the same ones, to be compared by pairs.
        purpose = ("repeat", repeat) if self.study.search.repeats > 1 else (setting.number,)
        return Trial(
            name=f"{base}-repeat-{repeat}" if repeat else base,
            phase=Phase.SEARCH,
            arm=LEARNED,
            method=LEARNED,
            settings=setting.values,
            seed=derive(self.study.seed, Phase.SEARCH, *purpose) % 2**31,
            epochs=self._epochs(setting),
            origin=base if repeat else None,
        )

    def report(self, row: Row, epoch: int, accuracy: float) -> None:
        """Shows an epoch to the pruner."""
        self._pruning.report(row.result.trial.name, epoch, accuracy)

    def reason_to_stop(self, row: Row, epoch: int) -> str:
        """Why a trial should stop after an epoch; empty if it should not. What the pruner remembers is kept."""
        name = row.result.trial.name
        reason = ""
        if self._pruning.should_stop(name):
            reason = f"{self.study.search.pruner.name}: behind its peers at epoch {epoch}"
            # First of all, since a pruner does not give the same answer twice.
            self._store.note(row, GIVEN_UP, reason)
        for key, value in self._pruning.notes(name).items():
            if key not in row.notes:
                self._store.note(row, key, value)
        return reason

    def verdict(self, row: Row, metrics: Mapping[str, float]) -> str:
        """Why a complete trial is the last of its setting although there are more seeds; empty if it is not."""
        assert row.number is not None
        setting, pruner = self._settings[row.number], self.study.search.pruner
        if pruner.name != "wilcoxon" or len(setting.results) + 1 >= setting.repeats:
            return ""
        whole = [other for other in self._settings if other.outcome is Outcome.COMPLETE]
        best = max(whole, key=lambda other: (other.accuracy, -other.number), default=None)
        if best is None:
            return ""
        ours = [*_accuracies(setting), metrics["select_accuracy"]]
        if not are_worse(ours, _accuracies(best), pruner.p_value):
            return ""
        return f"wilcoxon: worse than search-{best.number:04d} on {len(ours)} seeds"

    def ended(self, row: Row) -> None:
        """Takes in the end of a trial."""
        assert row.number is not None
        setting, result = self._settings[row.number], row.result
        setting.add(result, row.values)
        self._pruning.end(result.trial.name, result.outcome, result.metrics.get("select_accuracy"))
        if setting.outcome is Outcome.RUNNING:
            self._to_repeat.append(setting)
        else:
            self._not_repeated += setting.repeats - len(setting.results)

    def best(self, top: int) -> list[TrialResult]:
        """The first trials of the best settings, the most accurate first.

        A setting counts when it is complete and within the constraints. With several objectives it must also be on the
        Pareto front, so there may be fewer than asked for.
        """
        whole = [
            setting
            for setting in self._settings
            if setting.outcome is Outcome.COMPLETE
            and setting.measured(self.study)
            and all(excess <= 0 for excess in setting.violations(self.study).values())
        ]
        whole.sort(key=lambda setting: (-(setting.accuracy or 0.0), setting.number))
        objective = self.study.search.objective
        if len(objective) > 1:
            whole = pareto_front(whole, objective, lambda setting: setting.measured(self.study))
        return [setting.results[0] for setting in whole[:top]]


def _accuracies(setting: Setting) -> list[float]:
    return [result.metrics["select_accuracy"] for result in setting.results]
