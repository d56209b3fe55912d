"""Comparison of arms: paired differences over seeds, and tests that pay for what they look at.

All arms of a final phase share their seeds, and with a seed the split, the first weights and the order of the batches.
So arms are compared seed by seed, which takes that common part of the noise out (Bouthillier et al. 2021, Accounting
for Variance in Machine Learning Benchmarks). Seeds differ in all of their randomness, so plain t statistics hold: the
correction of Nadeau and Bengio (2003) is for resampled, overlapping splits of one run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

ALPHA = 0.05
"""Chance to call arms different that are not, over all comparisons of a kind together."""

BASIS_ARM = "none"
"""The arm that every other one is measured by, in score and in cost."""

BEST_BASELINE = "best baseline"
LEARNED_METHODS = ("learned", "frozen")

_NO_SPREAD = 1e-9
"""Points; scores that differ by less are the same number."""


class Verdict(StrEnum):
    """What a comparison says about its arm."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "cannot be told apart"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """An arm against a reference, on test images."""

    arm: str
    against: str
    """`BEST_BASELINE`, or `BASIS_ARM`."""

    reference: str
    """The arm that stands for it: of the baselines, the one that the arm has the least lead over."""

    seeds: int
    """Seeds that both arms have."""

    difference: float
    """Mean of the arm minus the reference over these seeds, in points of the score."""

    low: float | None
    high: float | None
    """Bounds that hold the difference with a probability of 95 % at least; None where there are none. They are as wide
    as the corrected test asks for: they leave zero out exactly when the verdict is not undecided."""

    p: float
    """Two-sided, corrected by Holm's method for all comparisons of its kind."""

    verdict: Verdict


def half_width_95(values: Sequence[float]) -> float | None:
    """Half the width of the 95 % t-interval of the mean of `values`; None for fewer than two.

    t_{0.975, n - 1} * s / sqrt(n), where s is the sample standard deviation (n - 1 in its denominator).
    """
    if len(values) < 2:
        return None
    quantile = float(stdtrit(len(values) - 1, 1 - ALPHA / 2))
    return quantile * float(np.std(values, ddof=1)) / math.sqrt(len(values))


def percentages(mean: float, half_width: float) -> tuple[float, float]:
    """The ends of an interval, cut to what a percentage can be."""
    return max(0.0, mean - half_width), min(100.0, mean + half_width)


def interval_95(score: Mapping[str, Any]) -> tuple[float, float] | None:
    """The ends of the interval of the `test_score` of an arm, cut to what a percentage can be; None for one seed."""
    return None if score["ci95"] is None else percentages(score["mean"], score["ci95"])


def is_learned(arm: Mapping[str, Any]) -> bool:
    """Whether an arm of a summary is what the study searched for, and not a baseline."""
    return arm["method"] in LEARNED_METHODS


def compare(arms: Sequence[Mapping[str, Any]]) -> list[Comparison]:
    """Every learned arm against the best baseline, then every other arm against `none`.

    Args:
        arms: The `arms` of a summary.

    Returns:
        Comparisons in the order of the arms; those without a common seed are left out.
    """
    learned, baselines = [a for a in arms if is_learned(a)], [a for a in arms if not is_learned(a)]
    basis = [arm for arm in baselines if arm["name"] == BASIS_ARM]
    others = [arm for arm in arms if arm["name"] != BASIS_ARM]
    return _corrected(learned, BEST_BASELINE, baselines) + _corrected(others, BASIS_ARM, basis)


def worse_than_another(arms: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of every arm the p-value for being worse than some other arm, corrected like those of `compare`.

    The best arm is not known, so an arm counts as worse than the best if it is worse than any (Bonferroni, Hsu 1984),
    and over the arms Holm's method holds. It is 1 where there is no other arm, or where so few seeds say nothing.
    """
    p_values = []
    for arm in arms:
        differences = [_paired(arm, other) for other in arms if other is not arm]
        p_values.append(min(1.0, 2 * _p_worse(differences)) if differences else 1.0)
    return dict(zip((arm["name"] for arm in arms), holm(p_values), strict=True))


def compare_same_arms(arms: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> list[Comparison]:
    """Every arm against that of the same name in another study, over the seeds that both have.

    Seeds are the same in studies of the same `seed`, and with them splits, first weights and the order of the batches.

    Args:
        arms: The `arms` of a summary.
        others: Those of the study to compare with.
    """
    by_name = {arm["name"]: arm for arm in others}
    return _judged("the other study", [(arm, [by_name[arm["name"]]]) for arm in arms if arm["name"] in by_name])


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number, so that one error among all is as rare as asked (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    corrected, largest = [1.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = largest
    return corrected


def _levels(p_values: Sequence[float]) -> list[float]:
    """The level at which Holm's procedure judges each hypothesis: it goes from alpha / n on, until the first stands."""
    order = np.argsort(p_values, kind="stable")
    levels, num_left = [ALPHA] * len(p_values), len(p_values)
    for at in order:
        levels[at] = ALPHA / num_left
        if p_values[at] <= levels[at]:
            num_left -= 1
    return levels


def _corrected(
    arms: Sequence[Mapping[str, Any]], against: str, references: Sequence[Mapping[str, Any]]
) -> list[Comparison]:
    """Each of `arms` against the best of `references`, with Holm's correction over the arms."""
    return _judged(against, [(arm, references) for arm in arms])


def _judged(
    against: str, compared: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]
) -> list[Comparison]:
    """Each arm against the best of its references, with Holm's correction over the arms."""
    pairs = [(arm, references, [_paired(arm, each) for each in references]) for arm, references in compared]
    pairs = [pair for pair in pairs if any(map(len, pair[2]))]
    p_values = [_p_value(differences) for _, _, differences in pairs]
    found = []
    for (arm, references, differences), p, level in zip(pairs, holm(p_values), _levels(p_values), strict=True):
        means = [float(np.mean(d)) if len(d) else math.inf for d in differences]
        hardest = int(np.argmin(means))
        low, high = _interval(differences, level)
        verdict = Verdict.UNDECIDED
        if p <= ALPHA:
            verdict = Verdict.BETTER if _p_better(differences) < _p_worse(differences) else Verdict.WORSE
        found.append(
            Comparison(
                arm=arm["name"],
                against=against,
                reference=references[hardest]["name"],
                seeds=len(differences[hardest]),
                difference=means[hardest],
                # Two percentages differ by 100 points at most, which an interval of two seeds does not know.
                low=max(low, -100.0) if math.isfinite(low) else None,
                high=min(high, 100.0) if math.isfinite(high) else None,
                p=p,
                verdict=verdict,
            )
        )
    return found


# Which baseline is the best is not known; to take the one with the highest test mean for it would be a choice by the
# very numbers that are tested. An arm is better than the best of k if it is better than each, and the largest of the k
# p-values needs no correction for that (Berger 1982, intersection-union tests). It is worse than the best if it is
# worse than any, and the smallest is multiplied by k (Bonferroni). The interval turns these tests around, as Hsu (1984)
# does for multiple comparisons with the best: it holds zero exactly when neither finds a difference.


def _p_value(differences: Sequence[np.ndarray]) -> float:
    return min(1.0, 2 * min(_p_better(differences), _p_worse(differences)))


def _p_better(differences: Sequence[np.ndarray]) -> float:
    return max(_tail(d) for d in differences)


def _p_worse(differences: Sequence[np.ndarray]) -> float:
    return len(differences) * min(_tail(-d) for d in differences)


def _interval(differences: Sequence[np.ndarray], alpha: float) -> tuple[float, float]:
    """Bounds of the least of the mean differences, which hold both with a probability of 1 - alpha at least."""
    low = min(_lower_bound(d, alpha / 2) for d in differences)
    high = min(-_lower_bound(-d, alpha / 2 / len(differences)) for d in differences)
    return low, high


def _tail(differences: np.ndarray) -> float:
    """One-sided p-value against a mean difference of zero or less; 1 where so few seeds say nothing."""
    if len(differences) < 2:
        return 1.0
    mean, error = _mean_and_error(differences)
    if error is None:
        return 0.5 ** len(differences) if mean > _NO_SPREAD else 1.0
    return float(stdtr(len(differences) - 1, -mean / error))


def _lower_bound(differences: np.ndarray, alpha: float) -> float:
    """What the mean difference is above, with a probability of 1 - alpha; minus infinity if that cannot be said."""
    if len(differences) < 2:
        return -math.inf
    mean, error = _mean_and_error(differences)
    if error is None:
        return mean if 0.5 ** len(differences) <= alpha else -math.inf
    return mean + float(stdtrit(len(differences) - 1, alpha)) * error


def _mean_and_error(differences: np.ndarray) -> tuple[float, float | None]:
    """Mean and standard error; no error if all differences are the same number.

    A score goes by counts, so a few seeds can agree by chance. A t statistic would then be infinite and sure
    of itself; the sign test (all n differences on one side: 0.5^n) needs no spread and takes its place.
    """
    spread = float(np.std(differences, ddof=1))
    return float(np.mean(differences)), spread / math.sqrt(len(differences)) if spread > _NO_SPREAD else None


def _paired(arm: Mapping[str, Any], reference: Mapping[str, Any]) -> np.ndarray:
    """Arm minus reference for every seed that both have."""
    ours, theirs = (dict(zip(a["seeds"], a["test_score"]["values"], strict=True)) for a in (arm, reference))
    return np.array([ours[seed] - theirs[seed] for seed in ours if seed in theirs], dtype=float)
