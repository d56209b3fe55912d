"""Pruning of search trials by Optuna's pruners, over an Optuna study in memory."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState

from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.trial_store import STATES, StoredTrial
from dabo_ray.trials import Outcome


class Pruning:
    """The search trials as a pruner sees them: of each candidate the first one alone.

    Pruners keep a share of candidates, each seen once on one same seed. Further seeds are for those that were kept, and
    measure them. Were they pruned as well, a candidate would have to be among the best on every seed by itself instead
    of by its mean, against rungs where the good ones stand many times.

    Args:
        study: the checked study file.
    """

    def __init__(self, study: StudyConfig) -> None:
        self._pruner = _pruner(study)
        self._storage = optuna.storages.InMemoryStorage()
        self._study = optuna.create_study(
            storage=self._storage, study_name=study.study, direction="maximize", pruner=self._pruner
        )
        self._ids: dict[str, int] = {}

    def add(self, stored: StoredTrial) -> None:
        """Shows the pruner a trial with what was heard of it; its end is told apart. One that goes on is known."""
        if stored.result.trial.origin is not None or stored.result.trial.name in self._ids:
            return
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING, intermediate_values=stored.values, system_attrs=stored.pruner_notes()
        )
        self._ids[stored.result.trial.name] = self._storage.create_new_trial(self._study._study_id, template)

    def report(self, name: str, epoch: int, score: float) -> None:
        """Shows the pruner an epoch of a running trial."""
        if name in self._ids:
            self._storage.set_trial_intermediate_value(self._ids[name], epoch, score)

    def should_stop(self, name: str) -> bool:
        """Whether a running trial has fallen behind. May be asked once an epoch: pruners remember that they were."""
        return name in self._ids and self._pruner.prune(self._study, self._storage.get_trial(self._ids[name]))

    def notes(self, name: str) -> Mapping[str, Any]:
        """What the pruner remembers of a running trial."""
        return self._storage.get_trial_system_attrs(self._ids[name]) if name in self._ids else {}

    def end(self, name: str, outcome: Outcome, score: float | None) -> None:
        """Shows the pruner the end of a trial."""
        values = [score] if outcome is Outcome.COMPLETE and score is not None else None
        if name in self._ids:
            self._storage.set_trial_state_values(self._ids[name], STATES[outcome], values)


def _pruner(study: StudyConfig) -> optuna.pruners.BasePruner:
    config = study.search.pruner
    if config.name == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=config.min_epochs, reduction_factor=config.reduction_factor
        )
    if config.name == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=config.min_epochs,
            max_resource=max(config.min_epochs, study.classifier.epochs),
            reduction_factor=config.reduction_factor,
        )
    if config.name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=config.min_epochs)
    return optuna.pruners.NopPruner()


def are_worse(ours: Sequence[float], theirs: Sequence[float], p_value: float) -> bool:
    """Whether scores are worse than others on the same seeds, by Optuna's Wilcoxon signed-rank pruner.

    Args:
        ours: on the first seeds.
        theirs: on all seeds.
        p_value: below which the difference counts.
    """
    memory = optuna.create_study(direction="maximize")
    curves = [dict(enumerate(values)) for values in (theirs, ours)]
    memory.add_trial(optuna.trial.create_trial(value=sum(theirs) / len(theirs), intermediate_values=curves[0]))
    trial = optuna.trial.create_trial(state=TrialState.RUNNING, intermediate_values=curves[1])
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        return optuna.pruners.WilcoxonPruner(p_threshold=p_value).prune(memory, trial)
