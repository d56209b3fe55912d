"""What the sampler is shown of the settings tried so far."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial

from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.setting import Setting
from dabo_ray.planning.store import STATES
from dabo_ray.trials import Outcome

SHOWN_BEST, SHOWN_LATEST = 25, 75
"""Of many settings, the sampler is shown so many of the best and of the latest: its cost grows with all it sees."""


class _Seen(FrozenTrial):
    """A trial that nobody changes: Optuna copies deeply what it is given, which would be half of a proposal's cost."""

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTrial:
        del memo
        return copy.copy(self)


class Tried(list[Setting]):
    """The settings of a search, in their order."""

    def __init__(self, settings: Iterable[Setting] = ()) -> None:
        super().__init__(settings)
        self._best: list[Setting] = []
        self._open: list[Setting] = []
        self._ranked = 0

    def shown(self, study: StudyConfig) -> list[Setting]:
        """Those that the sampler learns from, in their order: some of the best and the latest, none that failed.

        What has ended keeps its accuracy, so the best ones are gone on with: the cost does not grow with the search.
        """
        # One that was pruned has no value for a second objective.
        hidden = {Outcome.FAIL} if len(study.search.objective) == 1 else {Outcome.FAIL, Outcome.PRUNED}
        start = max(0, len(self) - SHOWN_LATEST)
        chosen = sorted(self._best_before(start), key=lambda setting: setting.number) + self[start:]
        return [setting for setting in chosen if setting.outcome not in hidden]

    def _best_before(self, end: int) -> list[Setting]:
        """The most accurate of the first settings, the earlier one of equals; `end` never becomes less."""
        fresh = [*self._open, *self[self._ranked : end]]
        self._ranked = end
        self._open = [setting for setting in fresh if setting.outcome is Outcome.RUNNING]
        ended = [setting for setting in fresh if setting.outcome is not Outcome.RUNNING]
        self._best = _most_accurate([*self._best, *ended])
        return _most_accurate([*self._best, *self._open])


def _most_accurate(settings: Iterable[Setting]) -> list[Setting]:
    judged = [(setting.accuracy, setting) for setting in settings if setting.accuracy is not None]
    judged.sort(key=lambda each: (-each[0], each[1].number))
    return [setting for _, setting in judged[:SHOWN_BEST]]


def as_seen(study: StudyConfig, setting: Setting) -> FrozenTrial:
    """The setting as Optuna sees it."""
    judged = setting.measured(study)
    state = STATES[Outcome.COMPLETE if judged else setting.outcome]
    now = datetime.now()
    trial = _Seen(
        # Optuna gives it both numbers.
        number=-1,
        trial_id=-1,
        state=state,
        value=None,
        values=[judged[name] for name in study.search.objective] if judged else None,
        datetime_start=now,
        datetime_complete=now if state.is_finished() else None,
        params=dict(setting.values),
        distributions=dict(setting.distributions),
        user_attrs={},
        system_attrs={},
        intermediate_values=dict(setting.curve) if setting.outcome is Outcome.PRUNED and not judged else {},
    )
    for name, excess in setting.violations(study).items() if judged else ():
        trial.set_constraint(name, excess)
    return trial
