"""Figures of what was learned: the distribution of each quantity, beside the true one where that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.description import UNITS, plot_distribution
from dabo_ray.reporting.figures.drawing import TEXT, Styles, data_uri, label, legend, plot, styled

Draws = Mapping[str, np.ndarray]
"""Values that an augmenter draws, by the name of the quantity: `rotation_deg`, `scale_factor`."""

NUM_BINS = 60


def learned_and_true(
    draws: Mapping[str, Sequence[Draws]], truth: Mapping[str, tuple[float, float]], styles: Styles | None = None
) -> dict[str, str]:
    """A figure for each quantity whose true distribution is known, by its name.

    The line of an arm is the density of what its seeds draw, all together; each seed alone is drawn faintly.

    Args:
        draws: Of each arm, what each of its seeds draws.
        truth: Bounds of the uniform distribution of the shift, by the name of the quantity.
        styles: Of all arms of the study.
    """
    figures = {}
    for name, bounds in truth.items():
        having = {arm: [seed[name] for seed in seeds if name in seed] for arm, seeds in draws.items()}
        having = {arm: seeds for arm, seeds in having.items() if seeds}
        if having:
            figures[name] = _beside_truth(in_words(name), having, *bounds, styles)
    return figures


def _beside_truth(
    words: str, draws: Mapping[str, Sequence[np.ndarray]], low: float, high: float, styles: Styles | None
) -> str:
    figure, axes = plot(height=3.4)
    every = np.concatenate([values for seeds in draws.values() for values in seeds])
    # The outermost draws would squeeze the rest into the middle.
    first, last = np.quantile(every, (0.002, 0.998))
    margin = 0.15 * (high - low)
    bins = np.linspace(min(first, low - margin), max(last, high + margin), NUM_BINS + 1)
    for arm, style in styled(draws, styles):
        for values in draws[arm]:
            axes.stairs(_density(values, bins), bins, color=style["color"], alpha=0.3, linewidth=0.8)
        together = _density(np.concatenate(draws[arm]), bins)
        axes.stairs(together, bins, **style, linewidth=2, label=label(arm))
    height = 1 / (high - low)
    axes.fill_between([low, high], height, color=TEXT, alpha=0.1, linewidth=0)
    corners = [low, low, high, high], [0, height, height, 0]
    axes.plot(*corners, "--", color=TEXT, linewidth=1.2, label="the shift itself")
    # A seed that learned next to nothing is a spike that would make the others flat.
    axes.set_ylim(0, min(axes.get_ylim()[1], 5 * height))
    axes.set_yticks([])
    axes.set_ylabel("density")
    axes.set_xlabel(words)
    legend(axes)
    return data_uri(figure)


def all_quantities(augmenter: Augmenter) -> str:
    """All that an augmenter does, a histogram for each quantity."""
    figure, axes = plot(height=4.0)
    axes.grid(visible=False)
    plot_distribution(augmenter, axes)
    figure.set_size_inches(5.2, 1.0 + 0.45 * len(axes.get_yticks()))
    return data_uri(figure)


def in_words(name: str) -> str:
    """A quantity with its unit: `rotation (degrees)`."""
    quantity, _, unit = name.rpartition("_")
    return f"{quantity.replace('_', ' ')} ({UNITS[unit][2]})"


def _density(values: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Share of the values in each bin, over its width; what lies outside of all bins counts, too."""
    counts = np.histogram(values, bins)[0]
    density: np.ndarray = counts / len(values) / np.diff(bins)
    return density
