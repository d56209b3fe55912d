"""Figures of what changes while a classifier trains: score, loss, the learned distribution and its evidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from dabo_ray.analysis.convergence import EVIDENCE, SPREAD, quantity_and_unit
from dabo_ray.analysis.trial_files import Record, Records
from dabo_ray.analysis.trial_metrics import score_in_words
from dabo_ray.reporting.figures.drawing import (
    GREY,
    Styles,
    by_epoch,
    data_uri,
    epoch_axis,
    label,
    legend,
    lines_by_epoch,
    plot,
    styled,
)
from dabo_ray.trials import Phase, TrialResult


def learning_curves(results: Sequence[TrialResult], records: Records, styles: Styles | None = None) -> str | None:
    """Select score by epoch, one line per method. None without any.

    The line is the median of the method's trials that trained that epoch, the band the middle half of them.
    """
    histories = defaultdict(list)
    for result in results:
        if result.trial.phase is not Phase.FINAL:
            histories[result.trial.method].append(records.get(result.trial.name, ()))
    if not results:
        return None
    figure, axes = plot(height=3.6)
    for method, style in styled(histories, styles):
        epochs, values = by_epoch(histories[method], results[0].trial.select_metric)
        if epochs:
            axes.plot(epochs, [np.median(v) for v in values], label=label(method), **style)
            low, high = np.array([np.percentile(v, (25, 75)) for v in values]).T
            axes.fill_between(epochs, low, high, color=style["color"], alpha=0.15, linewidth=0)
    if not axes.lines:
        return None
    epoch_axis(axes)
    axes.set_ylabel(f"select {score_in_words(results)} (%)")
    legend(axes)
    return data_uri(figure)


def final_losses(results: Sequence[TrialResult], records: Records, styles: Styles | None = None) -> str | None:
    """Loss on the augmented training images by epoch in the final phase, a line per arm and faint ones per seed.

    None without any.
    """
    histories = _final_histories(results, records)
    figure, axes = plot(height=3.6)
    lines_by_epoch(axes, histories, "train_loss", styles)
    if not axes.lines:
        return None
    epoch_axis(axes)
    axes.set_ylabel("training loss")
    axes.set_ylim(bottom=0)
    legend(axes)
    return data_uri(figure)


def learned_distribution(
    results: Sequence[TrialResult],
    records: Records,
    true_spread: Mapping[str, float],
    styles: Styles | None = None,
) -> dict[str, str]:
    """Spread of the transformations by epoch in the final phase, by the name of the metric.

    One line per arm that has one: the mean of its seeds, and each of them faintly. A dashed
    line where the images that are scored are spread in truth, if `true_spread` knows.
    """
    histories = _final_histories(results, records)
    figures = {}
    for name in _names(histories, SPREAD):
        figure, axes = plot()
        lines_by_epoch(axes, histories, name, styles)
        if name in true_spread:
            axes.axhline(true_spread[name], color="#374151", linestyle="--", linewidth=1.2, label="the shift itself")
        quantity, unit = quantity_and_unit(name)
        axes.set_ylim(bottom=0)
        epoch_axis(axes)
        axes.set_ylabel(f"{quantity} spread ({unit})")
        legend(axes)
        figures[name] = data_uri(figure)
    return figures


def signal_to_noise(results: Sequence[TrialResult], records: Records, styles: Styles | None = None) -> dict[str, str]:
    """Mean over standard error of the hypergradient by epoch in the final phase, by the group of weights.

    Lines and bands as in `learned_distribution`; a dashed line at 1, where gradients without any signal are.
    """
    histories = _final_histories(results, records)
    figures = {}
    for name in _names(histories, EVIDENCE):
        figure, axes = plot()
        lines_by_epoch(axes, histories, name, styles)
        axes.axhline(1.0, color=GREY, linestyle="--", linewidth=1.2, label="noise alone")
        axes.set_ylim(bottom=0)
        epoch_axis(axes)
        axes.set_ylabel("signal to noise")
        legend(axes)
        figures[name.removeprefix(EVIDENCE)] = data_uri(figure)
    return figures


def every_seed(results: Sequence[TrialResult], records: Records, styles: Styles | None = None) -> dict[str, str]:
    """Outer loss of every seed of a learned arm by epoch, each named at its end, by the name of the arm."""
    arms = defaultdict(list)
    for result in results:
        if result.trial.phase is Phase.FINAL and result.trial.name in records:
            epochs, values = by_epoch([records[result.trial.name]], "outer_loss")
            if epochs:
                arms[result.trial.arm].append((result.trial, epochs, [v[0] for v in values]))
    figures = {}
    for arm, style in styled(arms, styles):
        figure, axes = plot(height=3.4)
        for trial, epochs, losses in arms[arm]:
            axes.plot(epochs, losses, **{**style, "linewidth": 1.2}, alpha=0.8)
            words = f" {trial.seed_index}"
            axes.annotate(words, (epochs[-1], losses[-1]), va="center", fontsize=8, annotation_clip=False)
        epoch_axis(axes)
        axes.set_yscale("log")
        axes.set_ylabel("outer loss")
        figures[arm] = data_uri(figure)
    return figures


def _final_histories(results: Sequence[TrialResult], records: Records) -> dict[str, list[Sequence[Record]]]:
    """The histories of the seeds of every arm of the final phase."""
    histories = defaultdict(list)
    for result in results:
        if result.trial.phase is Phase.FINAL and result.trial.name in records:
            histories[result.trial.arm].append(records[result.trial.name])
    return histories


def _names(histories: Mapping[str, Sequence[Sequence[Record]]], part: str) -> list[str]:
    """The names of the metrics that hold `part` and have a value."""
    of_arms = (record for arm in histories.values() for history in arm for record in history)
    return sorted({name for record in of_arms for name in record if part in name and np.isfinite(record[name])})
