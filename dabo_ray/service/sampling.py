"""Which setting to try next, by Optuna's samplers: a function of the settings tried so far, with no memory of its own.

So a plan that is opened again proposes what it would have proposed, and the cost of a proposal is bounded by how many
settings the sampler is shown.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from dabo_ray.config import FloatRange, IntRange, Study
from dabo_ray.seeds import derive
from dabo_ray.service.store import Distributions
from dabo_ray.trials import Outcome

STARTUP = 5
"""First settings, drawn at random."""

SHOWN_BEST, SHOWN_LATEST = 25, 75
"""Of many settings, the sampler is shown so many of the best and of the latest: its cost grows with all it sees."""


@dataclass
class Setting:
    """A setting of the search as it stands."""

    number: int
    values: Mapping[str, Any]
    """Key path -> what was drawn."""

    distributions: Distributions
    outcome: Outcome = Outcome.RUNNING
    accuracy: float | None = None
    """What it is judged by, once that is known."""

    curve: Mapping[int, float] = field(default_factory=dict)
    """Epoch -> select accuracy, of one that was pruned."""

    def frozen(self) -> FrozenTrial:
        """The setting as Optuna sees it."""
        states = {
            Outcome.RUNNING: TrialState.RUNNING,
            Outcome.COMPLETE: TrialState.COMPLETE,
            Outcome.PRUNED: TrialState.PRUNED,
            Outcome.FAIL: TrialState.FAIL,
        }
        return optuna.trial.create_trial(
            state=states[self.outcome],
            value=self.accuracy if self.outcome is Outcome.COMPLETE else None,
            params=dict(self.values),
            distributions=dict(self.distributions),
            intermediate_values=dict(self.curve) if self.outcome is Outcome.PRUNED else None,
        )


def propose(study: Study, number: int, tried: Sequence[Setting]) -> Setting:
    """The setting with a number.

    Args:
        study: the checked study file.
        number: of the setting, from 0.
        tried: all settings before it.
    """
    # A stream of its own for every setting: one for all would begin again, and repeat itself, with every driver.
    sampler = _sampler(study, derive(study.seed, "sampler", number) % 2**31)
    memory = optuna.create_study(direction="maximize", sampler=sampler)
    if study.search.sampler != "random":
        memory.add_trials([setting.frozen() for setting in _shown(tried)])
    handle = memory.ask()
    for key in study.search.space:
        _draw(study, handle, key)
    return Setting(number, handle.params, handle.distributions)


def _shown(tried: Sequence[Setting]) -> list[Setting]:
    """The settings that the sampler learns from, in their order."""
    useful = [setting for setting in tried if setting.outcome is not Outcome.FAIL]
    if len(useful) <= SHOWN_BEST + SHOWN_LATEST:
        return useful
    latest, earlier = useful[-SHOWN_LATEST:], useful[:-SHOWN_LATEST]
    judged = [setting for setting in earlier if setting.accuracy is not None]
    best = heapq.nlargest(SHOWN_BEST, judged, key=lambda setting: setting.accuracy or 0.0)
    return sorted(best, key=lambda setting: setting.number) + latest


def _draw(study: Study, handle: optuna.trial.Trial, key: str) -> None:
    entry = study.search.space[key]
    if isinstance(entry, IntRange):
        handle.suggest_int(key, *entry.bounds, log=entry.log)
    elif isinstance(entry, FloatRange):
        handle.suggest_float(key, *entry.bounds, log=entry.log)
    else:
        handle.suggest_categorical(key, entry.values)


def _sampler(study: Study, seed: int) -> optuna.samplers.BaseSampler:
    if study.search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True)
