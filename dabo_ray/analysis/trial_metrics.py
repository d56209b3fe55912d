"""Metrics of trials: one of them, the trials that have the one that counts, and what that is called."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dabo_ray.trials import SCORES, Outcome, Phase, TrialResult


def metric(result: TrialResult, name: str) -> float | None:
    """A metric of the last epoch of a trial; None if it is missing or not finite."""
    value = result.metrics.get(name)
    return float(value) if value is not None and math.isfinite(value) else None


def select_score(result: TrialResult) -> float | None:
    """The score of a trial on the select images, in percent; None if it has none."""
    return metric(result, result.trial.select_metric)


def complete_trials(results: Sequence[TrialResult]) -> list[TrialResult]:
    """The trials of the search that trained to their end and have a finite select score."""
    whole = (r for r in results if r.trial.phase is Phase.SEARCH and r.outcome is Outcome.COMPLETE)
    return [r for r in whole if select_score(r) is not None]


def select_scores(trials: Sequence[TrialResult]) -> list[float]:
    """The select scores of trials that all have one."""
    return [result.metrics[result.trial.select_metric] for result in trials]


def score_in_words(results: Sequence[TrialResult]) -> str:
    """What the trials of a study are judged by, as in "accuracy"."""
    return SCORES[results[0].trial.score if results else "accuracy"]
