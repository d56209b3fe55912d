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


def lines_by_epoch(axes: Axes, histories: Mapping[str, Sequence[Sequence[Record]]], name: str) -> None:
    """A line for each group: the mean of a metric over its trials, in a band from the least to the greatest."""
    for group, style in styled(histories):
        epochs, values = by_epoch(histories[group], name)
        if epochs:
            axes.plot(epochs, [np.mean(v) for v in values], label=label(group), **style)
            low, high = [min(v) for v in values], [max(v) for v in values]
            axes.fill_between(epochs, low, high, color=style["color"], alpha=0.13, linewidth=0)


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


def styled(names: Iterable[str]) -> list[tuple[str, dict[str, Any]]]:
    """Each name with the style of its line: what is learned first, and frozen, in colours that nothing else has."""
    names = sorted(names)
    kinds: list[tuple[list[str], tuple[str, ...]]] = [
        ([name for name in names if name.startswith("learned")], (LEARNED_COLOUR,)),
        ([name for name in names if name.startswith("frozen")], (FROZEN_COLOUR,)),
        ([name for name in names if not name.startswith(("learned", "frozen"))], OTHER_COLOURS),
    ]
    return [
        (name, {"color": colours[at % len(colours)], "linestyle": LINES[at // len(colours) % len(LINES)]})
        for members, colours in kinds
        for at, name in enumerate(members)
    ]


def group_of(arm: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What kind of arm it is, and its mark: kinds differ in colour and in shape."""
    if is_learned(arm):
        frozen = arm["method"] == "frozen"
        name, mark, colour = ("learned, frozen", "D", FROZEN_COLOUR) if frozen else ("learned", "o", LEARNED_COLOUR)
    else:
        longer = arm["name"].endswith(EQUAL_COST_SUFFIX)
        name, mark, colour = ("baseline, equal cost", "^", "#CC79A7") if longer else ("baseline", "s", BASELINE_COLOUR)
    return name, {"color": colour, "marker": mark, "linestyle": "none"}


def group_legend(axes: Axes, arms: Arms) -> None:
    """A legend of the kinds of these arms."""
    for name, style in dict(group_of(arm) for arm in arms).items():
        axes.plot([], [], label=name, **style)
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
