"""Figures of the arms that a study compares: what each reaches, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dabo_ray.analysis.pareto import pareto_front
from dabo_ray.analysis.statistics import BASIS_ARM, interval_95
from dabo_ray.reporting.figures.drawing import (
    FAINT,
    GREY,
    TEXT,
    Arms,
    Styles,
    data_uri,
    group_legend,
    label,
    mark_of,
    plot,
    styles_of,
    value_axis,
)
from dabo_ray.trials import SCORES


def score_per_arm(arms: Arms, styles: Styles | None = None) -> str | None:
    """Test score of every arm, best on top: mean, 95 % interval and the single seeds. None without arms."""
    if not arms:
        return None
    styles = styles or styles_of(arm["name"] for arm in arms)
    figure, axes = plot(height=1.0 + 0.42 * len(arms))
    for row, arm in enumerate(arms):
        score, style = arm["test_score"], mark_of(arm, styles)
        interval = interval_95(score)
        spread = None if interval is None else np.abs(np.subtract(interval, score["mean"]))[:, None]
        axes.errorbar(score["mean"], row, xerr=spread, markersize=7, capsize=4, elinewidth=2, **style)
        # Below the mean, so that seeds that agree with it stay visible.
        below = np.full(len(score["values"]), row + 0.28)
        axes.plot(score["values"], below, markersize=4, markerfacecolor="none", **style)
    axes.set_yticks(range(len(arms)), [label(arm["name"]) for arm in arms])
    axes.set_ylim(len(arms) - 0.4, -0.6)
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, 0), min(high, 100.5))
    axes.set_xlabel(f"test {_score_of(arms)} (%)")
    group_legend(axes, arms)
    return data_uri(figure)


def best_for_their_cost(arms: Arms) -> list[Mapping[str, Any]]:
    """The arms on the Pareto front of score and cost, cheapest first."""
    priced = [arm for arm in arms if arm["cost_ratio"] is not None]
    front = pareto_front(
        priced,
        {"score": "maximize", "cost": "minimize"},
        lambda arm: {"score": arm["test_score"]["mean"], "cost": arm["cost_ratio"]},
    )
    return sorted(front, key=lambda arm: arm["cost_ratio"])


def score_by_cost(arms: Arms, styles: Styles | None = None) -> str | None:
    """Mean test score against training time, with the Pareto front. None if no arm has a cost ratio."""
    priced = [arm for arm in arms if arm["cost_ratio"] is not None]
    if not priced:
        return None
    styles = styles or styles_of(arm["name"] for arm in arms)
    figure, axes = plot(height=max(3.6, 1.2 + 0.26 * len(priced)))
    positions = value_axis(axes, [float(arm["cost_ratio"]) for arm in priced])
    front = best_for_their_cost(priced)
    # Beyond its last arm more time buys nothing.
    axes.step(
        [*(arm["cost_ratio"] for arm in front), max(positions)],
        [*(arm["test_score"]["mean"] for arm in front), front[-1]["test_score"]["mean"]],
        where="post",
        color=GREY,
        linewidth=1.2,
        linestyle="--",
        zorder=1.5,
        label="Pareto front",
    )
    for arm, cost in zip(priced, positions, strict=True):
        axes.plot(cost, arm["test_score"]["mean"], markersize=8, **mark_of(arm, styles))
    axes.margins(0.08)
    _name_beside(axes, priced, positions)
    axes.set_xlabel(f"training time ({BASIS_ARM} = 1)")
    axes.set_ylabel(f"mean test {_score_of(arms)} (%)")
    group_legend(axes, priced)
    return data_uri(figure)


def _score_of(arms: Arms) -> str:
    return SCORES[arms[0]["score"]]


def _name_beside(axes: Axes, arms: Arms, positions: Sequence[float]) -> None:
    """Names in a column of their own, in the order of the means, spread until none covers another."""
    means = [arm["test_score"]["mean"] for arm in arms]
    low, high = axes.get_ylim()
    spacing = (high - low) / max(13, len(arms) + 1)
    order = np.argsort(means, kind="stable")
    heights = np.array(means)[order]
    for upper in range(1, len(heights)):
        heights[upper] = max(heights[upper], heights[upper - 1] + spacing)
    heights -= max(0.0, float(heights[-1]) - high)
    for lower in reversed(range(len(heights) - 1)):
        heights[lower] = min(heights[lower], heights[lower + 1] - spacing)
    for at, height in zip(order, heights, strict=True):
        axes.annotate(
            label(arms[at]["name"]),
            xy=(positions[at], means[at]),
            xytext=(1.04, height),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            color=TEXT,
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.8, "shrinkB": 5},
            zorder=1,
        )
