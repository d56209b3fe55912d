"""Convergence of the learned arms: the last outer loss of every seed beside the others', and seeds that stand apart."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dabo_ray.analysis.trial_metrics import metric
from dabo_ray.trials import LEARNED, Outcome, Phase, TrialResult

UPDATES = "augmenter_updates"
"""The metric that counts the updates of an augmenter."""

REST = "rest_percent"
"""The metric that has the part of a training before its augmenter began to learn."""

LATE = 100 / 3
"""From this part on, in percent, a training may be too short for augmentation to pay."""

SPREAD, EVIDENCE = "_spread_", "hypergradient_snr_"
"""What the names of such metrics hold: `rotation_spread_deg`, `hypergradient_snr_network`."""

FEWEST_SEEDS = 3
"""Seeds of an arm, from which on one of them can stand apart from the others."""

FAR = 3.0
"""A last outer loss counts as far from the others from this many times their median on."""

DIFFERENT = 2.0
"""A spread is worth naming where it is so many times the median of the others, or a part as small of it."""

_UNITS = {"deg": "degrees", "percent": "%"}


@dataclass(frozen=True)
class LearnedSeed:
    """How the learning of a trial of the final phase ended."""

    trial: str
    arm: str
    seed: int
    outer_loss: float | None
    """Mean over the last epoch; None where the classifier never fitted its images, so that no learning began."""

    others: float | None
    """Median of the last outer loss of the arm's other seeds; None where there are too few to judge by."""

    spreads: Mapping[str, float]
    """Learned spreads, by the name of the metric."""

    learning: str
    """How it went, in a few words; empty where there are too few seeds to say."""

    warning: str
    """What is wrong with it in a sentence; empty where it converged as the others did."""


def learned_seeds(results: Sequence[TrialResult]) -> list[LearnedSeed]:
    """The complete learned trials of the final phase, by arm and seed, each beside the arm's other seeds.

    A trial did not converge where its last outer loss is at least `FAR` times the median of the others; its learning
    did not begin where it had no update. No test image is looked at, so what is said of a trial cannot favour an arm.
    """
    arms: defaultdict[str, list[TrialResult]] = defaultdict(list)
    for result in results:
        trial, is_complete = result.trial, result.outcome is Outcome.COMPLETE
        is_known = _last_loss(result) is not None or result.metrics.get(UPDATES) == 0
        if trial.phase is Phase.FINAL and trial.method == LEARNED and is_complete and is_known:
            arms[trial.arm].append(result)
    return [
        _beside(member, [other for other in members if other is not member and _last_loss(other) is not None])
        for _, members in sorted(arms.items())
        for member in sorted(members, key=lambda each: (each.trial.seed_index, each.trial.seed))
    ]


def learned_spreads(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those of a trial's metrics that are learned spreads, by name."""
    # The signal to noise of the spreads' gradients has their name in its own.
    return {name: metrics[name] for name in sorted(metrics) if SPREAD in name and not name.startswith(EVIDENCE)}


def quantity_and_unit(name: str) -> tuple[str, str]:
    """Of the metric of a spread, in words: `rotation` and `degrees`, `scale` and `%`."""
    quantity, unit = name.split(SPREAD, 1)
    return quantity.replace("_", " "), _UNITS.get(unit, unit)


def spreads_text(spreads: Mapping[str, float]) -> str:
    """Spreads in words: `rotation 19.7 degrees, scale 2.7 %`."""
    return ", ".join(_in_words(name, value) for name, value in spreads.items())


def _last_loss(result: TrialResult) -> float | None:
    """The outer loss of the last epoch; None where no learning began."""
    return metric(result, "outer_loss")


def _beside(result: TrialResult, others: Sequence[TrialResult]) -> LearnedSeed:
    """A seed beside the arm's others that have an outer loss."""
    loss, name = _last_loss(result), result.trial.name
    rest, spreads = result.metrics.get(REST, 0.0), learned_spreads(result.metrics)
    median = None
    if loss is not None and len(others) + 1 >= FEWEST_SEEDS:
        median = statistics.median(other.metrics["outer_loss"] for other in others)
    learning, warning = "" if median is None else "as the others", ""
    if loss is None:
        learning = "did not begin"
        warning = (
            f"The trial {name} did not begin to learn: its training loss never fell to the part of its first value "
            "that bilevel.warmup_loss says, so images were left as they are; train longer, or raise it."
        )
    elif median is not None and loss >= FAR * median:
        learning = "did not converge"
        learned = _differences(spreads, [learned_spreads(other.metrics) for other in others])
        warning = (
            f"The trial {name} did not converge: outer loss {loss:.2f} against a median of {median:.2f} of the other "
            f"seeds{learned}."
        )
    elif rest > LATE:
        learning = "began late"
        warning = (
            f"The trial {name} began to learn after {rest:.0f} % of its updates, when its classifier fitted the "
            "training images: a training this short may lose by augmentation; train longer."
        )
    return LearnedSeed(
        trial=name,
        arm=result.trial.arm,
        seed=result.trial.seed,
        outer_loss=loss,
        others=median,
        spreads=spreads,
        learning=learning,
        warning=warning,
    )


def _differences(spreads: Mapping[str, float], others: Sequence[Mapping[str, float]]) -> str:
    """What it learned more of than the others, and what less; most different first."""
    words: dict[str, list[tuple[float, str]]] = {"more": [], "less": []}
    for name, value in spreads.items():
        of_others = [each[name] for each in others if name in each]
        median = statistics.median(of_others) if of_others else 0.0
        if not (median > 0 and value > 0):
            continue
        ratio = value / median
        if max(ratio, 1 / ratio) >= DIFFERENT:
            text = f"{_in_words(name, value)} (others {median:.1f})"
            words["more" if ratio > 1 else "less"].append((max(ratio, 1 / ratio), text))
    parts = [
        f"{lead} {', '.join(text for _, text in sorted(words[kind], reverse=True))}"
        for kind, lead in (("more", "it learned"), ("less", "it missed"))
        if words[kind]
    ]
    return "; " + ", and ".join(parts) if parts else ""


def _in_words(name: str, value: float) -> str:
    quantity, unit = quantity_and_unit(name)
    return f"{quantity} {value:.1f} {unit}"
