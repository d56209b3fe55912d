"""Importance of each searched setting, by Optuna's PED-ANOVA."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator

from dabo_ray.analysis.trial_metrics import complete_trials, select_scores
from dabo_ray.trials import TrialResult

MIN_TRIALS = 10
"""Complete trials below which shares would be chance: the best tenth of them is compared with all."""


def importance(results: Sequence[TrialResult]) -> dict[str, float]:
    """Share of each setting in what tells the best tenth of the search from the rest (Watanabe et al. 2023).

    Args:
        results: Trials of a study; only complete ones of the search count, since pruned ones trained for less.

    Returns:
        Key path -> share, together 1; empty where there are too few trials or nothing differs.
    """
    trials = complete_trials(results)
    scores = select_scores(trials)
    spaces = {key: space for key in _keys(trials) if (space := _space([r.trial.settings.get(key) for r in trials]))}
    if len(trials) < MIN_TRIALS or len(set(scores)) < 2 or not spaces:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    for result, value in zip(trials, scores, strict=True):
        params = {key: _value(spaces[key], value) for key, value in result.trial.settings.items() if key in spaces}
        distributions = {key: spaces[key] for key in params}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        shares = optuna.importance.get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {key: float(share) for key, share in shares.items()}


def _keys(trials: Sequence[TrialResult]) -> list[str]:
    return sorted({key for result in trials for key in result.trial.settings})


def _space(values: Sequence[Any]) -> BaseDistribution | None:
    """The space that the values of a setting span; none if they are all the same."""
    values = [value for value in values if value is not None]
    if len({str(value) for value in values}) < 2:
        return None
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return CategoricalDistribution(sorted({str(value) for value in values}))
    low, high = min(values), max(values)
    log = low > 0 and high / low > 10
    if all(isinstance(value, int) for value in values):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _value(space: BaseDistribution, value: Any) -> Any:
    return str(value) if isinstance(space, CategoricalDistribution) else value
