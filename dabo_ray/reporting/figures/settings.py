"""Figures of what a search tried: score over each setting, what the settings matter, and all of them at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize

from dabo_ray.analysis.effects import in_order, levels_of
from dabo_ray.analysis.statistics import BASIS_ARM
from dabo_ray.analysis.trial_metrics import complete_trials, score_in_words, select_score, select_scores
from dabo_ray.reporting.figures.drawing import (
    FAINT,
    GREY,
    LEARNED_COLOUR,
    MAX_VECTOR_POINTS,
    TEXT,
    Styles,
    data_uri,
    is_categorical,
    label,
    legend,
    plot,
    styles_of,
    value_axis,
)
from dabo_ray.trials import Outcome, Phase, TrialResult

MAX_LINES = 300
"""Trials that the parallel coordinates show, the best ones."""

_PLATE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
"""Behind the numbers of an axis, so that lines do not cross them out."""


def score_by_setting(results: Sequence[TrialResult], styles: Styles | None = None) -> dict[str, str]:
    """Select score against each setting of which the search tried several values, by the setting's key path."""
    scored = [r for r in results if select_score(r) is not None]
    basis = [r for r in scored if r.trial.phase is Phase.BASELINES and r.trial.arm == BASIS_ARM]
    colour_of_basis = (styles or styles_of([BASIS_ARM]))[BASIS_ARM]["color"] if basis else GREY
    tried = tried_trials(results)
    figures = {}
    for key in varied_keys(tried):
        having = [result for result in tried if key in result.trial.settings]
        figure, axes = plot()
        positions = value_axis(axes, [result.trial.settings[key] for result in having])
        for outcome, name, marker, colour in (
            (Outcome.COMPLETE, "complete", "o", LEARNED_COLOUR),
            (Outcome.PRUNED, "pruned", "x", GREY),
        ):
            here = [at for at, result in enumerate(having) if result.outcome is outcome]
            if here:
                axes.plot(
                    [positions[at] for at in here],
                    select_scores([having[at] for at in here]),
                    marker,
                    color=colour,
                    alpha=0.75,
                    label=name,
                    rasterized=len(here) > MAX_VECTOR_POINTS,
                )
        for score in select_scores(basis):
            axes.axhline(score, color=colour_of_basis, linestyle="--", label=BASIS_ARM)
        axes.set_xlabel(label(key))
        axes.set_ylabel(f"select {score_in_words(results)} (%)")
        legend(axes)
        figures[key] = data_uri(figure)
    return figures


def importance_bars(importance: Mapping[str, float]) -> str | None:
    """How much each setting matters, the most important on top. None without any.

    Args:
        importance: Share of each key path, together 1.
    """
    if not importance:
        return None
    keys = sorted(importance, key=lambda key: -importance[key])
    figure, axes = plot(height=0.9 + 0.4 * len(keys))
    axes.barh(range(len(keys)), [importance[key] for key in keys], color=LEARNED_COLOUR, height=0.55)
    for row, key in enumerate(keys):
        axes.text(importance[key], row, f" {100 * importance[key]:.0f} %", va="center", color=TEXT)
    axes.set_yticks(range(len(keys)), [label(key) for key in keys])
    axes.set_ylim(len(keys) - 0.5, -0.5)
    axes.set_xlim(0, 1.12 * max(max(importance.values()), 0.1))
    axes.set_xlabel("share of the importance")
    axes.grid(visible=False, axis="y")
    return data_uri(figure)


def interplay_map(results: Sequence[TrialResult], first: str, second: str) -> str:
    """Mean select score for each pair of values of two settings, in its cell; white where none was tried."""
    trials = complete_trials(results)
    scores = select_scores(trials)
    rows, columns = levels_of(trials, first), levels_of(trials, second)
    heights, widths = in_order(rows), in_order(columns)
    cells = np.full((len(heights), len(widths)), np.nan)
    for place in np.ndindex(cells.shape):
        pair = heights[place[0]], widths[place[1]]
        inside = zip(rows, columns, scores, strict=True)
        values = [score for row, column, score in inside if (row, column) == pair]
        if values:
            cells[place] = np.mean(values)
    figure, axes = plot(height=1.4 + 0.45 * len(heights))
    axes.grid(visible=False)
    low, high = np.nanmin(cells), np.nanmax(cells)
    scale = Normalize(low - 0.3 * (high - low), max(high, low + 0.1))
    axes.imshow(cells, cmap="cividis_r", norm=scale, aspect="auto")
    for (row, column), value in np.ndenumerate(cells):
        if np.isfinite(value):
            colour = "white" if scale(value) > 0.6 else TEXT
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(widths)), [label(level) for level in widths])
    axes.set_yticks(range(len(heights)), [label(level) for level in heights])
    axes.set_xlabel(label(second))
    axes.set_ylabel(label(first))
    return data_uri(figure)


def parallel_coordinates(results: Sequence[TrialResult]) -> str | None:
    """A line per trial through its value on every searched setting, coloured by select score.

    None for fewer than two settings that differ, or fewer than two trials that have all of them.
    """
    keys = varied_keys(tried_trials(results))
    trials = [r for r in tried_trials(results) if all(key in r.trial.settings for key in keys)]
    keys = [key for key in keys if len({str(r.trial.settings[key]) for r in trials}) > 1]
    if len(keys) < 2:
        return None
    trials = sorted(trials, key=lambda result: result.metrics[result.trial.select_metric])[-MAX_LINES:]
    scores = np.array(select_scores(trials))
    # A single score would make an empty scale.
    scale = Normalize(scores.min(), max(scores.max(), scores.min() + 0.1))
    colours = ScalarMappable(scale, ListedColormap(colormaps["cividis_r"](np.linspace(0.2, 1, 128))))
    figure, axes = plot(height=4.0)
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    heights = []
    for column, key in enumerate(keys):
        places, ticks = _places([result.trial.settings[key] for result in trials])
        heights.append(places)
        axes.axvline(column, color=FAINT, linewidth=1, zorder=1)
        for place, text in ticks:
            axes.text(column + 0.03, place, text, va="center", fontsize=8, color=TEXT, zorder=4, bbox=_PLATE)
    for row, result in enumerate(trials):
        pruned = result.outcome is Outcome.PRUNED
        line = [places[row] for places in heights]
        colour = colours.to_rgba(scores[row])
        axes.plot(range(len(keys)), line, ":" if pruned else "-", color=colour, linewidth=1.6, zorder=2)
    axes.set_xticks(range(len(keys)), [label(key.replace(".", ".\n", 1)) for key in keys])
    axes.set_xlim(-0.15, len(keys) - 1 + 0.35)
    axes.set_yticks([])
    bar = figure.colorbar(colours, ax=axes, location="bottom", shrink=0.8, aspect=30)
    bar.set_label(f"select {score_in_words(results)} (%)")
    return data_uri(figure)


def _places(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """Where values lie between 0 and 1 on an axis of their own, and its ticks."""
    if is_categorical(values):
        categories = sorted({str(value) for value in values})
        span = max(len(categories) - 1, 1)
        ticks = [(at / span, label(category)) for at, category in enumerate(categories)]
        return [categories.index(str(value)) / span for value in values], ticks
    # Small numbers of a wide range would lie on top of each other.
    scale = math.log if max(values) >= 8 * min(values) > 0 else float
    low, high = scale(min(values)), scale(max(values))
    distinct = sorted(set(values))
    shown = distinct if len(distinct) <= 5 else [distinct[0], distinct[len(distinct) // 2], distinct[-1]]
    place = {value: (scale(value) - low) / (high - low) for value in distinct}
    return [place[value] for value in values], [(place[value], f"{value:.3g}") for value in shown]


def tried_trials(results: Sequence[TrialResult]) -> list[TrialResult]:
    """The search trials that say something about their setting."""
    of_search = (r for r in results if r.trial.phase is Phase.SEARCH and select_score(r) is not None)
    return [result for result in of_search if result.outcome in (Outcome.COMPLETE, Outcome.PRUNED)]


def varied_keys(trials: Sequence[TrialResult]) -> list[str]:
    """The settings of which several values were tried."""
    values: dict[str, set[str]] = {}
    for result in trials:
        for key, value in result.trial.settings.items():
            values.setdefault(key, set()).add(str(value))
    return sorted(key for key, tried in values.items() if len(tried) > 1)
