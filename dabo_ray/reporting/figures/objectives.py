"""Figures of a search with several objectives: what one costs in another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from dabo_ray.analysis.pareto import pareto_front
from dabo_ray.analysis.trial_metrics import metric
from dabo_ray.config.schema.search import Measure
from dabo_ray.reporting.figures.drawing import GREY, LEARNED_COLOUR, data_uri, legend, plot, value_axis
from dabo_ray.trials import SCORES, Outcome, Phase, TrialResult

WORDS: Mapping[str, str] = {
    **{f"select_{name}": f"select {words} (%)" for name, words in SCORES.items()},
    "gpu_hours": "GPU-hours",
    "seconds": "training time (s)",
    "peak_memory_mib": "peak memory (MiB)",
}
"""The measures that a search may go by."""

Point = Mapping[Measure, float]
"""What a setting reached, by the name of the measure."""


def trade_offs(
    results: Sequence[TrialResult], objective: Mapping[Measure, str], limits: Mapping[Measure, float]
) -> dict[Measure, str]:
    """The first objective against each of the others, a mark for each complete setting; by the name of the other.

    Args:
        results: Every trial.
        objective: `maximize` or `minimize`, by the name of the measure.
        limits: The most that a setting may have of a measure; one that has more is not among the best.
    """
    points = _points(results, {*objective, *limits})
    if not points:
        return {}
    allowed = [point for point in points if all(point[name] <= most for name, most in limits.items())]
    best = pareto_front(allowed, objective, dict)
    first, *others = objective
    figures = {}
    for name in others:
        figure, axes = plot()
        places = dict(zip(map(id, points), value_axis(axes, [point[name] for point in points]), strict=True))
        for kind, members, marker, colour in (
            ("beaten", [point for point in points if point not in best], "o", GREY),
            ("best in their way", best, "D", LEARNED_COLOUR),
        ):
            if members:
                heights = [point[first] for point in members]
                axes.plot([places[id(point)] for point in members], heights, marker, color=colour, label=kind)
        axes.set_xlabel(WORDS[name])
        axes.set_ylabel(WORDS[first])
        legend(axes)
        figures[name] = data_uri(figure)
    return figures


def _points(results: Sequence[TrialResult], names: set[Measure]) -> list[Point]:
    """What every setting of the search reached, as the mean over the seeds that it was tried on."""
    trials: defaultdict[str, list[TrialResult]] = defaultdict(list)
    for result in results:
        whole = result.outcome is Outcome.COMPLETE and all(metric(result, name) is not None for name in names)
        if result.trial.phase is Phase.SEARCH and whole:
            trials[str(sorted(result.trial.settings.items()))].append(result)
    return [{name: fmean(r.metrics[name] for r in members) for name in names} for members in trials.values()]
