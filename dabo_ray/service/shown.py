"""What the sampler is shown of the settings tried so far."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial

from dabo_ray.config import Study
from dabo_ray.service.setting import Setting
from dabo_ray.service.store import STATES
from dabo_ray.trials import Outcome

SHOWN_BEST, SHOWN_LATEST = 25, 75
"""Of many settings, the sampler is shown so many of the best and of the latest: its cost grows with all it sees."""


class _Seen(FrozenTrial):
    """A trial that nobody changes: Optuna copies deeply what it is given, which would be half of a proposal's cost."""

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTrial:
        del memo
        return copy.copy(self)


def shown(study: Study, tried: Sequence[Setting]) -> list[Setting]:
    """The settings that the sampler learns from, in their order."""
    # One that was pruned has no value for a second objective.
    hidden = {Outcome.FAIL} if len(study.search.objective) == 1 else {Outcome.FAIL, Outcome.PRUNED}
    recent = tried[-SHOWN_LATEST:]
    best: list[Setting] = []
    if len(tried) > SHOWN_LATEST:
        earlier = (setting for setting in tried[:-SHOWN_LATEST] if setting.accuracy is not None)
        best = heapq.nlargest(SHOWN_BEST, earlier, key=lambda setting: setting.accuracy or 0.0)
    chosen = sorted(best, key=lambda setting: setting.number) + list(recent)
    return [setting for setting in chosen if setting.outcome not in hidden]


def as_seen(study: Study, setting: Setting) -> FrozenTrial:
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
