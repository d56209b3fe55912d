"""What a study's results look like: the sample grid of a trial, and the figures of the report as data URIs."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from dabo_ray.tracking.results import metric, replacing
from dabo_ray.tracking.statistics import BASIS_ARM
from dabo_ray.trials import Outcome, Phase, TrialResult

Arms = Sequence[Mapping[str, Any]]
"""The `arms` of a summary."""

Records = Mapping[str, Sequence[Mapping[str, float]]]
"""The records of the epochs of each trial, by its name."""

# Okabe and Ito's palette, told apart with every common kind of colour blindness; its yellow is too faint on white.
_LEARNED = "#0072B2"
_BASELINE = "#D55E00"
_OTHERS = ("#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_LINES = ("-", "--", ":", "-.")
_GREY = "#6b7280"

_MAX_VECTOR_POINTS = 500
"""Beyond it a scatter is drawn in pixels: thousands of SVG elements make a phone crawl."""


def sample_grid(before: np.ndarray, after: np.ndarray, path: Path) -> None:
    """Write a PNG whose every row is an original and its augmented versions, enlarged without smoothing.

    Args:
        before: The originals, uint8, shape (n, H, W, C), C = 1 or 3.
        after: k augmented versions of each, uint8, shape (n, k, H, W, C).
        path: The PNG to write; an older one is replaced as a whole.

    Raises:
        ValueError: The arrays do not have these types or shapes.
    """
    is_uint8 = before.dtype == after.dtype == np.uint8
    fits = before.ndim == 4 and after.ndim == 5 and after.shape[:1] + after.shape[2:] == before.shape
    if not (is_uint8 and fits and after.size > 0 and before.shape[-1] in (1, 3)):
        raise ValueError(
            "a sample grid needs uint8 arrays of shapes (n, H, W, C) and (n, k, H, W, C), n and k >= 1, C 1 or 3; "
            f"got {before.dtype} {before.shape} and {after.dtype} {after.shape}"
        )
    num_rows, height, width, _ = before.shape
    tiles = np.concatenate([before[:, None], after], axis=1)
    if tiles.shape[-1] == 1:
        tiles = tiles.repeat(3, axis=-1)
    scale = max(1, round(72 / max(height, width)))
    tiles = tiles.repeat(scale, axis=2).repeat(scale, axis=3)
    tile_height, tile_width = height * scale, width * scale

    gap, margin, caption = 4, 12, 24
    lefts = margin + np.arange(tiles.shape[1]) * (tile_width + gap)
    lefts[1:] += 3 * gap  # the originals stand apart
    tops = caption + np.arange(num_rows) * (tile_height + gap)
    canvas = np.full((tops[-1] + tile_height + margin, lefts[-1] + tile_width + margin, 3), 255, np.uint8)
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            canvas[top : top + tile_height, left : left + tile_width] = tiles[row, column]

    dpi = 100
    figure = Figure(figsize=(canvas.shape[1] / dpi, canvas.shape[0] / dpi), dpi=dpi)
    figure.figimage(canvas)
    for left, text in ((lefts[0], "original"), (lefts[1], "augmented")):
        figure.text(left / canvas.shape[1], 1 - caption / 2 / canvas.shape[0], text, fontsize=9, va="center")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)


def accuracy_per_arm(arms: Arms) -> str | None:
    """Test accuracy of every arm, best on top: mean, 95 % interval and the single seeds. None without arms."""
    if not arms:
        return None
    figure, axes = _plot(height=1.0 + 0.42 * len(arms))
    for row, arm in enumerate(arms):
        accuracy, style = arm["test_accuracy"], _group_style(arm)
        axes.errorbar(accuracy["mean"], row, xerr=accuracy["ci95"], markersize=7, capsize=4, elinewidth=2, **style)
        # Below the mean, so that seeds that agree with it stay visible.
        below = np.full(len(accuracy["values"]), row + 0.28)
        axes.plot(accuracy["values"], below, markersize=4, markerfacecolor="none", **style)
    axes.set_yticks(range(len(arms)), [_label(arm["name"]) for arm in arms])
    axes.set_ylim(len(arms) - 0.4, -0.6)
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, 0), min(high, 100.5))  # an interval of few seeds can be wider than what is possible
    axes.set_xlabel("test accuracy (%)")
    _group_legend(axes, arms)
    return _data_uri(figure)


def learning_curves(results: Sequence[TrialResult], records: Records) -> str | None:
    """Select accuracy by epoch, one line per method. None without any.

    The line is the median of the method's trials that trained that epoch, the band the middle half of them.
    """
    histories = defaultdict(list)
    for result in results:
        if result.trial.phase is not Phase.FINAL:
            histories[result.trial.method].append(records.get(result.trial.name, ()))
    figure, axes = _plot(height=3.6)
    for method, style in _styled(histories):
        epochs, values = _by_epoch(histories[method], "select_accuracy")
        if epochs:
            axes.plot(epochs, [np.median(v) for v in values], label=_label(method), **style)
            low, high = np.array([np.percentile(v, (25, 75)) for v in values]).T
            axes.fill_between(epochs, low, high, color=style["color"], alpha=0.15, linewidth=0)
    if not axes.lines:
        return None
    _epoch_axis(axes)
    axes.set_ylabel("select accuracy (%)")
    _legend(axes)
    return _data_uri(figure)


def accuracy_by_setting(results: Sequence[TrialResult]) -> dict[str, str]:
    """Select accuracy against each setting of which the search tried several values, by the setting's key path."""
    scored = [r for r in results if metric(r, "select_accuracy") is not None]
    basis = [r for r in scored if r.trial.phase is Phase.BASELINES and r.trial.arm == BASIS_ARM]
    tried = [r for r in scored if r.trial.phase is Phase.SEARCH and r.outcome in (Outcome.COMPLETE, Outcome.PRUNED)]
    figures = {}
    for key in sorted({key for result in tried for key in result.trial.settings}):
        having = [result for result in tried if key in result.trial.settings]
        values = [result.trial.settings[key] for result in having]
        if len({str(value) for value in values}) < 2:
            continue
        figure, axes = _plot()
        positions = _value_axis(axes, values)
        for outcome, label, marker, colour in (
            (Outcome.COMPLETE, "complete", "o", _LEARNED),
            (Outcome.PRUNED, "pruned", "x", _GREY),
        ):
            here = [at for at, result in enumerate(having) if result.outcome is outcome]
            if here:
                axes.plot(
                    [positions[at] for at in here],
                    [having[at].metrics["select_accuracy"] for at in here],
                    marker,
                    color=colour,
                    alpha=0.75,
                    label=label,
                    rasterized=len(here) > _MAX_VECTOR_POINTS,
                )
        for result in basis:
            axes.axhline(result.metrics["select_accuracy"], color=_BASELINE, linestyle="--", label=BASIS_ARM)
        axes.set_xlabel(_label(key))
        axes.set_ylabel("select accuracy (%)")
        _legend(axes)
        figures[key] = _data_uri(figure)
    return figures


def accuracy_by_cost(arms: Arms) -> str | None:
    """Mean test accuracy against training time. None if no arm has a cost ratio."""
    priced = [arm for arm in arms if arm["cost_ratio"] is not None]
    if not priced:
        return None
    figure, axes = _plot(height=3.6)
    positions = _value_axis(axes, [float(arm["cost_ratio"]) for arm in priced])
    means = [arm["test_accuracy"]["mean"] for arm in priced]
    for arm, cost, mean in zip(priced, positions, means, strict=True):
        axes.plot(cost, mean, markersize=8, **_group_style(arm))
    axes.margins(0.08)
    # Names go in a column of their own, in the order of the means, spread until none covers another.
    low, high = axes.get_ylim()
    spacing = (high - low) / 13
    order = np.argsort(means, kind="stable")
    heights = np.array(means)[order]
    for upper in range(1, len(heights)):
        heights[upper] = max(heights[upper], heights[upper - 1] + spacing)
    heights -= max(0.0, float(heights[-1]) - high)
    for lower in reversed(range(len(heights) - 1)):
        heights[lower] = min(heights[lower], heights[lower + 1] - spacing)
    for at, height in zip(order, heights, strict=True):
        axes.annotate(
            _label(priced[at]["name"]),
            xy=(positions[at], means[at]),
            xytext=(1.04, height),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            color=_group_style(priced[at])["color"],
            arrowprops={"arrowstyle": "-", "color": "#c4c8cf", "linewidth": 0.8, "shrinkB": 5},
            zorder=1,
        )
    axes.set_xlabel(f"training time / that of {BASIS_ARM}")
    axes.set_ylabel("mean test accuracy (%)")
    _group_legend(axes, priced)
    return _data_uri(figure)


def learned_distribution(
    results: Sequence[TrialResult], records: Records, true_spread: Mapping[str, float]
) -> dict[str, str]:
    """Spread of the transformations by epoch in the final phase, by the name of the metric.

    One line per arm that has one: the mean of its seeds, and the band between the least and the greatest. A dashed
    line where the images that are scored are spread in truth, if `true_spread` knows.
    """
    histories = defaultdict(list)
    for result in results:
        if result.trial.phase is Phase.FINAL and result.trial.name in records:
            histories[result.trial.arm].append(records[result.trial.name])
    names = {name for arm in histories for history in histories[arm] for record in history for name in record}
    figures = {}
    for name in sorted(name for name in names if "_spread_" in name):
        figure, axes = _plot()
        for arm, style in _styled(histories):
            epochs, values = _by_epoch(histories[arm], name)
            if epochs:
                axes.plot(epochs, [np.mean(v) for v in values], label=_label(arm), **style)
                low, high = [min(v) for v in values], [max(v) for v in values]
                axes.fill_between(epochs, low, high, color=style["color"], alpha=0.15, linewidth=0)
        if name in true_spread:
            axes.axhline(true_spread[name], color="#374151", linestyle="--", linewidth=1.2, label="the shift itself")
        quantity, unit = name.split("_spread_")
        axes.set_ylim(bottom=0)
        _epoch_axis(axes)
        axes.set_ylabel(f"{quantity} spread ({unit})")
        _legend(axes)
        figures[name] = _data_uri(figure)
    return figures


def _by_epoch(histories: Sequence[Sequence[Mapping[str, float]]], name: str) -> tuple[list[int], list[list[float]]]:
    """The epochs at which any history has a finite metric of this name, and its values there."""
    values: defaultdict[int, list[float]] = defaultdict(list)
    for history in histories:
        for record in history:
            value = record.get(name)
            if value is not None and np.isfinite(value):
                values[int(record["epoch"])].append(value)
    epochs = sorted(values)
    return epochs, [values[epoch] for epoch in epochs]


def _plot(height: float = 3.0) -> tuple[Figure, Axes]:
    # Narrow, with large letters: a phone shows it at about its own size.
    figure = Figure(figsize=(4.4, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _data_uri(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", dpi=150)
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _epoch_axis(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _value_axis(axes: Axes, values: Sequence[Any]) -> list[float]:
    """Set the x axis up for values of any kind; returns where each of them lies on it."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        categories = sorted({str(value) for value in values})
        axes.set_xticks(range(len(categories)), [_label(category) for category in categories])
        axes.set_xlim(-0.5, len(categories) - 0.5)
        return [float(categories.index(str(value))) for value in values]
    distinct = sorted(set(values))
    if distinct[0] > 0 and distinct[-1] / distinct[0] > 10:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    if len(distinct) <= 6 and all(isinstance(value, int) for value in distinct):
        axes.set_xticks(distinct)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return [float(value) for value in values]


def _styled(names: Iterable[str]) -> list[tuple[str, dict[str, Any]]]:
    """Each name with the style of its line; what is learned comes first, in its own colour."""
    ordered = sorted(names, key=lambda name: (not name.startswith("learned"), name))
    colours = (_LEARNED, *_OTHERS)
    return [
        (name, {"color": colours[at % len(colours)], "linestyle": _LINES[at // len(colours) % len(_LINES)]})
        for at, name in enumerate(ordered)
    ]


def _group_style(arm: Mapping[str, Any]) -> dict[str, Any]:
    """Learned arms and baselines differ in colour and in shape."""
    learned = arm["method"] == "learned"
    return {"color": _LEARNED if learned else _BASELINE, "marker": "o" if learned else "s", "linestyle": "none"}


def _group_legend(axes: Axes, arms: Arms) -> None:
    for label, style in {
        ("learned" if a["method"] == "learned" else "baseline"): _group_style(a) for a in arms
    }.items():
        axes.plot([], [], label=label, **style)
    _legend(axes)


def _legend(axes: Axes) -> None:
    figure = axes.get_figure(root=True)
    assert figure is not None
    labels = axes.get_legend_handles_labels()[1]
    ncols = 3 if max(map(len, labels), default=0) <= 10 else 2
    figure.legend(loc="outside lower center", ncols=ncols, frameon=False)


def _label(text: str) -> str:
    """A name as matplotlib shall show it: not as mathematics, and of bounded width."""
    return (text if len(text) <= 22 else text[:21] + "\u2026").replace("$", r"\$")
