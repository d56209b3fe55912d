"""A learned distribution in words and numbers, and as a picture."""

from __future__ import annotations

import math
from os import PathLike, fspath
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dabo_ray.augment.augmenter import Augmenter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUM_DRAWS = 20_000
"""Draws that a distribution is described from, always the same ones."""

UNITS: dict[str, tuple[str, float, str]] = {
    "deg": ("{:+.1f}", 0.0, "degrees"),
    "percent": ("{:+.1f}", 0.0, "%"),
    "factor": ("{:.2f}", 1.0, "times"),
    "bits": ("{:.1f}", 0.0, "bits"),
}
"""Last word of a quantity's name -> how a value is written, the value that changes nothing, the unit."""

INVISIBLE = 1e-4
"""What differs by less from the value that changes nothing is taken to change nothing."""


@torch.no_grad()
def draw_samples(augmenter: Augmenter, label: int | None = None) -> dict[str, Tensor]:
    """`Augmenter.samples` of `NUM_DRAWS` draws, for one class or all alike; of a grey image where the image decides."""
    if label is not None and not 0 <= label < augmenter.num_classes:
        raise ValueError(f"got label {label}; this augmenter knows {augmenter.num_classes} classes, counted from 0")
    weight = next(augmenter.parameters())
    (draws,) = augmenter.draw(NUM_DRAWS, torch.Generator().manual_seed(0))
    images = torch.full((NUM_DRAWS, 1, 1, 1), 0.5, device=weight.device)
    labels = torch.arange(NUM_DRAWS, device=weight.device) % max(1, augmenter.num_classes)
    if label is not None:
        labels = torch.full_like(labels, label)
    samples = augmenter.samples(draws.to(weight), *augmenter.context(images, labels))
    return {name: values.detach().cpu().double() for name, values in samples.items()}


def describe(augmenter: Augmenter, label: int | None = None) -> str:
    """A line for each thing that is done to a picture: how often, its spread, and a range with 95 % of the draws.

    The spread is the standard deviation. Angles are in degrees, counter-clockwise, as seen on pictures of any shape;
    translations in percent of the width, to the right, and of the height, down; factors say by how much a picture is
    magnified or a tone is strengthened.

    Args:
        augmenter: whose distribution.
        label: the class that is meant, if the distribution depends on it; None for all alike.

    Raises:
        ValueError: there is no such class.

    >>> from dabo_ray.augment.affine import AffineAugmenter
    >>> print(describe(AffineAugmenter(operations=["rotation"])))
    Each image is changed by its own draw: rotation.
    rotation              spread 4.0 degrees, 95 % between -6.6 and +6.6 degrees
    """
    samples = draw_samples(augmenter, label)
    lines = []
    for name, values in _shown(samples).items():
        words = _words(name)
        probability = _probability(samples, name)
        often = "" if probability is None else f"with probability {probability:.2f}"
        if name.startswith("probability_"):
            lines.append(f"{words:<22}{often}")
            continue
        _, neutral, unit = UNITS[_unit(name)]
        spread, mean = float(values.std(correction=0)), float(values.mean())
        spread_words = f"{100 * spread:.1f} %" if neutral else f"{spread:.1f} {unit}"
        low, high = _range(name, values)
        line = f"{words:<22}spread {spread_words}, 95 % between {low} and {high} {unit}"
        if abs(mean - neutral) > 0.2 * spread:
            line += f", mean {UNITS[_unit(name)][0].format(mean)}"
        lines.append(f"{line}; {often}" if often else line)
    head = f"Each image is changed by its own draw: {', '.join(augmenter.operations)}."
    if augmenter.conditioning == "class":
        whose = f"over all {augmenter.num_classes} classes alike" if label is None else f"for class {label}"
        head += f" It depends on the class; the figures are {whose}."
    if augmenter.conditioning == "image":
        head += " It depends on the image; the figures are for a grey one."
    return "\n".join([head, *(lines or ["Nothing is changed."])])


def plot_distribution(
    augmenter: Augmenter, target: str | PathLike[str] | Axes | None = None, label: int | None = None
) -> Axes:
    """Draws a histogram for each quantity, the value that changes nothing in the middle.

    Args:
        augmenter: whose distribution.
        target: a file to write, axes to draw on, or None for a new figure.
        label: see `describe`.

    Returns:
        The axes that were drawn on.
    """
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    samples = draw_samples(augmenter, label)
    shown = _shown(samples)
    axes = target if isinstance(target, Axes) else Figure((8, 1 + 0.5 * len(shown)), layout="constrained").subplots()
    for row, (name, values) in enumerate(reversed(shown.items())):
        probability = _probability(samples, name)
        often = "" if probability is None else f", p = {probability:.2f}"
        if name.startswith("probability_"):
            axes.barh(row + 0.1, 2 * float(values.mean()), height=0.2, left=-1, color="#94a3b8")
            axes.text(1.05, row + 0.1, often.removeprefix(", "), va="center")
            continue
        _, neutral, unit = UNITS[_unit(name)]
        away = values - neutral
        counts = torch.histc(away / away.abs().max(), 61, -1, 1)
        middles = torch.linspace(-1, 1, 62).unfold(0, 2, 1).mean(1)
        axes.fill_between(middles, row, row + 0.85 * counts / counts.max(), step="mid", color="#2563eb", linewidth=0)
        low, high = _range(name, values)
        axes.text(1.05, row + 0.1, f"95 %: {low} to {high} {unit}{often}", va="center")
    axes.axvline(0, color="#374151", linewidth=0.8)
    axes.set(xlim=(-1, 1), ylim=(0, max(1, len(shown))), xticks=[], yticks=[])
    axes.set_yticks([row + 0.1 for row in range(len(shown))], [_words(name) for name in reversed(shown)])
    axes.set_title("no change", fontsize="small", color="#374151")
    axes.spines[:].set_visible(False)
    if not isinstance(target, Axes) and target is not None:
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.savefig(fspath(target), bbox_inches="tight")
    return axes


def _shown(samples: dict[str, Tensor]) -> dict[str, Tensor]:
    """What changes a picture; a probability alone only where nothing else tells of its operation."""
    quantities = {
        name: values
        for name, values in samples.items()
        if not name.startswith("probability_") and (values - UNITS[_unit(name)][1]).abs().max() > INVISIBLE
    }
    told = {_operation(name) for name in samples if not name.startswith("probability_")}
    alone = {
        name: values
        for name, values in samples.items()
        if name.startswith("probability_") and name.removeprefix("probability_") not in told
    }
    return quantities | alone


def _unit(name: str) -> str:
    return name.rpartition("_")[2]


def _operation(name: str) -> str:
    return name.rpartition("_")[0].removesuffix("_x").removesuffix("_y")


def _words(name: str) -> str:
    if name.startswith("probability_"):
        return name.removeprefix("probability_").replace("_", " ")
    return name.rpartition("_")[0].replace("_", " ")


def _probability(samples: dict[str, Tensor], name: str) -> float | None:
    key = name if name.startswith("probability_") else f"probability_{_operation(name)}"
    return float(samples[key].mean()) if key in samples else None


def _range(name: str, values: Tensor) -> tuple[str, str]:
    low, high = torch.quantile(values, torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
    form, neutral, _ = UNITS[_unit(name)]
    # A narrow range gets more digits: "-0.0 to +0.0" would say that nothing is changed, where little is.
    away = max(abs(low - neutral), abs(high - neutral), INVISIBLE)
    digits = math.ceil(-math.log10(away))
    if digits > int(form[-3]):
        form = f"{form[:-3]}{digits}f}}"
    return form.format(low), form.format(high)
