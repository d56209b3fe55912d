"""Effects of the settings that a search tried: a linear model of the select score, a factor per setting and per seed.

Trials of the same seed share split and first weights, so a seed is a block that is taken out. Effects of several
settings are judged together, each with the others held: what they do in company is looked at pair by pair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.special import fdtrc, stdtr, stdtrit

from dabo_ray.analysis.statistics import ALPHA, percentages
from dabo_ray.analysis.trial_metrics import complete_trials, select_scores
from dabo_ray.trials import TrialResult

MOST_LEVELS = 6
"""Numbers that a setting may take and still be compared one by one; more are sorted into thirds."""

MOST_PAIRS = 3
"""Of settings whose interplay is told and drawn, the strongest first."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """A value of a setting, or a range of values."""

    value: str
    trials: int
    mean: float
    """Select score (%), adjusted for the other settings and the seeds."""

    low: float | None
    high: float | None
    """95 % interval of that mean; None where the model has nothing left to judge by."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a setting does."""

    key: str
    levels: Sequence[Level]
    best: str
    worst: str
    difference: float
    """Points of the select score between these two."""

    low: float | None
    high: float | None
    """95 % interval of the difference, paid for by Bonferroni's rule for all pairs of values of all settings."""

    p: float
    """Corrected likewise; 1 where nothing can be judged."""


@dataclass(frozen=True, kw_only=True)
class Interplay:
    """Whether what one setting does depends on another."""

    first: str
    second: str
    p: float
    """Of the F test for the products of both in the model, times the number of pairs."""


def setting_effects(results: Sequence[TrialResult]) -> list[Effect]:
    """The effect of each setting of which the search tried several values, the largest difference first.

    Args:
        results: Trials of a study; complete ones of the search count, since pruned ones trained for less.
    """
    trials = complete_trials(results)
    levels = varied_levels(trials)
    if not levels:
        return []
    model = _Model(trials, levels)
    num_pairs = sum(math.comb(len(set(of_trials)), 2) for of_trials in levels.values())
    effects = [_effect(model, key, of_trials, num_pairs) for key, of_trials in levels.items()]
    return sorted(effects, key=lambda effect: -effect.difference)


def interplay(results: Sequence[TrialResult]) -> list[Interplay]:
    """The pairs of settings that can be judged, the clearest interplay first, `MOST_PAIRS` at most."""
    trials = complete_trials(results)
    levels = varied_levels(trials)
    pairs = list(combinations(levels, 2))
    if not pairs:
        return []
    plain = _Model(trials, levels)
    found = []
    for first, second in pairs:
        full = _Model(trials, levels, product=(first, second))
        extra = full.rank - plain.rank
        if extra < 1 or full.freedom < 1 or full.squares <= 0:
            continue
        ratio = (plain.squares - full.squares) / extra / (full.squares / full.freedom)
        p = float(fdtrc(extra, full.freedom, max(0.0, ratio)))
        found.append(Interplay(first=first, second=second, p=min(1.0, len(pairs) * p)))
    return sorted(found, key=lambda each: each.p)[:MOST_PAIRS]


def varied_levels(trials: Sequence[TrialResult]) -> dict[str, list[str]]:
    """The level of each trial, see `levels_of`, of the settings of which these trials have several; by key path."""
    keys = sorted({key for result in trials for key in result.trial.settings})
    levels = {key: levels_of(trials, key) for key in keys}
    return {key: of_trials for key, of_trials in levels.items() if len(set(of_trials)) > 1}


def levels_of(trials: Sequence[TrialResult], key: str) -> list[str]:
    """The level of a setting that each trial has: its value, or the third of the values that it lies in."""
    values = [result.trial.settings.get(key) for result in trials]
    if len({str(value) for value in values}) <= MOST_LEVELS or not all(map(_is_number, values)):
        return ["not set" if value is None else _shown(value) for value in values]
    numbers = np.array(values, dtype=float)
    bounds = np.quantile(numbers, [1 / 3, 2 / 3])
    thirds = np.searchsorted(bounds, numbers, side="left")
    names = {third: f"{numbers[thirds == third].min():.3g} to {numbers[thirds == third].max():.3g}" for third in thirds}
    return [names[third] for third in thirds]


def in_order(levels: Sequence[str]) -> list[str]:
    """Each level once: numbers and ranges by size, words by the alphabet."""

    def rank(level: str) -> tuple[bool, float, str]:
        try:
            return False, float(level.partition(" ")[0]), level
        except ValueError:
            return True, 0.0, level

    return sorted(set(levels), key=rank)


class _Model:
    """Least squares of the select score: a column for each level but the first of every factor.

    Args:
        trials: of the search.
        levels: of each setting, by its key path, the level of every trial. The seed is a factor beside them.
        product: two settings whose products are columns too.
    """

    def __init__(
        self,
        trials: Sequence[TrialResult],
        levels: Mapping[str, Sequence[str]],
        product: tuple[str, str] | None = None,
    ) -> None:
        scores = np.array(select_scores(trials))
        self.places: dict[str | None, dict[str, int]] = {}
        columns = [np.ones(len(trials))]
        for factor, of_trials in [*levels.items(), (None, [str(result.trial.seed) for result in trials])]:
            _, *others = in_order(of_trials)
            self.places[factor] = {level: len(columns) + at for at, level in enumerate(others)}
            columns += [np.array([own == level for own in of_trials], dtype=float) for level in others]
        if product:
            first, second = (self.places[key].values() for key in product)
            columns += [columns[a] * columns[b] for a in first for b in second]
        design = np.stack(columns, 1)
        self.inverse = np.linalg.pinv(design.T @ design)
        self.weights = self.inverse @ design.T @ scores
        self.seen = self.inverse @ design.T @ design
        """Projects on what the trials say something about."""
        self.means = design.mean(0)
        self.rank = int(np.linalg.matrix_rank(design))
        self.freedom = len(trials) - self.rank
        self.squares = float(np.square(scores - design @ self.weights).sum())

    def at(self, key: str, level: str) -> np.ndarray:
        """Columns of the mean at a level of one factor, the others as often as they were tried."""
        row: np.ndarray = self.means.copy()
        for place in self.places[key].values():
            row[place] = 0.0
        if level in self.places[key]:
            row[self.places[key][level]] = 1.0
        return row

    def estimate(self, row: np.ndarray) -> tuple[float, float | None]:
        """A combination of the weights, and its standard error; None where it cannot be judged."""
        is_seen = np.allclose(row @ self.seen, row, atol=1e-6)
        variance = self.squares / self.freedom * float(row @ self.inverse @ row) if self.freedom > 0 else 0.0
        return float(row @ self.weights), math.sqrt(variance) if is_seen and variance > 1e-18 else None

    def quantile(self, alpha: float) -> float:
        """Of Student's distribution, two-sided."""
        return float(stdtrit(self.freedom, 1 - alpha / 2))


def _effect(model: _Model, key: str, of_trials: Sequence[str], num_pairs: int) -> Effect:
    levels = []
    for level in in_order(of_trials):
        mean, error = model.estimate(model.at(key, level))
        half = None if error is None else model.quantile(ALPHA) * error
        low, high = (None, None) if half is None else percentages(mean, half)
        levels.append(Level(value=level, trials=of_trials.count(level), mean=mean, low=low, high=high))
    best, worst = (pick(levels, key=lambda level: level.mean).value for pick in (max, min))
    difference, error = model.estimate(model.at(key, best) - model.at(key, worst))
    half = None if error is None else model.quantile(ALPHA / num_pairs) * error
    p = 1.0 if not error else 2 * num_pairs * float(stdtr(model.freedom, -difference / error))
    return Effect(
        key=key,
        levels=levels,
        best=best,
        worst=worst,
        difference=difference,
        low=None if half is None else difference - half,
        high=None if half is None else difference + half,
        p=min(1.0, p),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def settings_answer(effects: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]], score: str) -> str:
    """What the settings do, in sentences.

    Args:
        effects: `Effect`s as JSON values, the largest first.
        pairs: `Interplay`s as JSON values, the clearest first.
        score: what the trials are judged by, in words.
    """
    if not effects:
        return "No answer yet: the search has no complete trials with different values of a setting."
    told = [effect for effect in effects if effect["p"] <= ALPHA]
    sentences = [
        f"{effect['key']}: {effect['best']} is {effect['difference']:.2f} points of select {score} better than "
        f"{effect['worst']}{_interval(effect)}."
        for effect in told
    ]
    for effect in effects:
        if effect["p"] > ALPHA:
            sentences.append(
                f"{effect['key']}: its values cannot be told apart; the largest difference, {effect['best']} over "
                f"{effect['worst']}, is {effect['difference']:.2f} points{_interval(effect)}."
            )
    joint = [pair for pair in pairs if pair["p"] <= ALPHA]
    sentences += [f"What {pair['first']} does depends on {pair['second']}." for pair in joint]
    return " ".join(sentences)


def _interval(effect: Mapping[str, Any]) -> str:
    if effect["low"] is None:
        return ", of which too few trials say how sure that is"
    return f" (95 % interval {effect['low']:.2f} to {effect['high']:.2f})"
