"""Drawing shared by all figures of a report: size, colours, axes, legends, and the way into the page."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from dabo_ray.analysis.statistics import is_learned
from dabo_ray.analysis.trial_files import Record

Arms = Sequence[Mapping[str, Any]]
"""The `arms` of a summary."""

# Okabe and Ito's palette, told apart with every common kind of colour blindness; its yellow is too faint on white.
LEARNED_COLOUR = "#0072B2"
FROZEN_COLOUR = "#009E73"
BASELINE_COLOUR = "#D55E00"
OTHER_COLOURS = (BASELINE_COLOUR, "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINES = ("-", "--", ":", "-.")

Styles = Mapping[str, Mapping[str, Any]]
"""Colour and kind of line of every arm of a study, the same in all of its figures."""

TEXT, GREY, FAINT = "#1c2430", "#6b7280", "#c4c8cf"

MAX_VECTOR_POINTS = 500
"""Beyond it a scatter is drawn in pixels: thousands of SVG elements make a phone crawl."""

EQUAL_COST_SUFFIX = "-equal-cost"


def plot(height: float = 3.0) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; narrow, with large letters, so that a phone shows it at about its own size."""
    figure = Figure(figsize=(4.4, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def data_uri(figure: Figure) -> str:
    """The figure as an SVG that a page can hold."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", dpi=150)
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def epoch_axis(axes: Axes) -> None:
    """Epochs on the x axis, whole numbers."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def value_axis(axes: Axes, values: Sequence[Any]) -> list[float]:
    """Set the x axis up for values of any kind; returns where each of them lies on it."""
    if is_categorical(values):
        categories = sorted({str(value) for value in values})
        axes.set_xticks(range(len(categories)), [label(category) for category in categories])
        axes.set_xlim(-0.5, len(categories) - 0.5)
        return [float(categories.index(str(value))) for value in values]
    distinct = sorted(set(values))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    if spans_decades(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    if len(distinct) <= 6 and all(isinstance(value, int) for value in distinct):
        axes.set_xticks(distinct)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return [float(value) for value in values]


def is_categorical(values: Iterable[Any]) -> bool:
    """Whether values have no place on a scale of numbers."""
    return any(isinstance(value, bool) or not isinstance(value, int | float) for value in values)


def spans_decades(values: Sequence[float]) -> bool:
    """Whether numbers belong on a logarithmic scale."""
    return min(values) > 0 and max(values) / min(values) > 10


def lines_by_epoch(
    axes: Axes, histories: Mapping[str, Sequence[Sequence[Record]]], name: str, styles: Styles | None = None
) -> None:
    """A line for each group: the mean of a metric over its trials, and each of these faintly."""
    for group, style in styled(histories, styles):
        epochs, values = by_epoch(histories[group], name)
        if epochs:
            axes.plot(epochs, [np.mean(v) for v in values], label=label(group), **style)
            for history in histories[group] if len(histories[group]) > 1 else ():
                own_epochs, own_values = by_epoch([history], name)
                axes.plot(own_epochs, [v[0] for v in own_values], **{**style, "linewidth": 0.8}, alpha=0.4)


def by_epoch(histories: Sequence[Sequence[Record]], name: str) -> tuple[list[int], list[list[float]]]:
    """The epochs at which any history has a finite metric of this name, and its values there."""
    values: defaultdict[int, list[float]] = defaultdict(list)
    for history in histories:
        for record in history:
            value = record.get(name)
            if value is not None and np.isfinite(value):
                values[int(record["epoch"])].append(value)
    epochs = sorted(values)
    return epochs, [values[epoch] for epoch in epochs]


def styles_of(names: Iterable[str]) -> Styles:
    """The style of the line of every arm of a study: what is learned, and frozen, in colours that nothing else has.

    The method `learned`, of the trials of the search, is drawn as the arm of the first rank.
    """
    names = sorted(set(names))
    others = [name for name in names if not name.startswith(("learned", "frozen"))]
    styles = {}
    for name in names:
        if name in others:
            line, colour = divmod(others.index(name), len(OTHER_COLOURS))
            styles[name] = {"color": OTHER_COLOURS[colour], "linestyle": LINES[line % len(LINES)]}
        else:
            rank = name.rpartition("-")[2]
            line = int(rank) - 1 if rank.isdecimal() else 0
            colours = LEARNED_COLOUR if name.startswith("learned") else FROZEN_COLOUR
            styles[name] = {"color": colours, "linestyle": LINES[line % len(LINES)]}
    return styles


def styled(names: Iterable[str], styles: Styles | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Each name with its style, what is learned first, then frozen; the styles of all arms, or of these alone."""
    names = list(names)
    styles = styles or styles_of(names)
    order = ("learned", "frozen")
    ranked = sorted(names, key=lambda name: (not name.startswith(order[0]), not name.startswith(order[1]), name))
    return [(name, dict(styles[name])) for name in ranked]


def kind_of(arm: Mapping[str, Any]) -> tuple[str, str]:
    """What kind of arm it is, and the shape of its mark."""
    if is_learned(arm):
        return ("learned, frozen", "D") if arm["method"] == "frozen" else ("learned", "o")
    return ("baseline, equal cost", "^") if arm["name"].endswith(EQUAL_COST_SUFFIX) else ("baseline", "s")


def mark_of(arm: Mapping[str, Any], styles: Styles) -> dict[str, Any]:
    """The mark of an arm: the shape of its kind in its own colour."""
    return {"color": styles[arm["name"]]["color"], "marker": kind_of(arm)[1], "linestyle": "none"}


def group_legend(axes: Axes, arms: Arms) -> None:
    """A legend of the kinds of these arms, whose names stand beside their marks."""
    for name, mark in dict(kind_of(arm) for arm in arms).items():
        axes.plot([], [], label=name, marker=mark, color=GREY, linestyle="none")
    legend(axes)


def legend(axes: Axes) -> None:
    """The legend below the axes, where it covers nothing."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    labels = axes.get_legend_handles_labels()[1]
    num_columns = 3 if max(map(len, labels), default=0) <= 10 else 2
    figure.legend(loc="outside lower center", ncols=num_columns, frameon=False)


def label(text: str) -> str:
    """A name as matplotlib shall show it: not as mathematics, and of bounded width."""
    return (text if len(text) <= 22 else text[:21] + "\u2026").replace("$", r"\$")
