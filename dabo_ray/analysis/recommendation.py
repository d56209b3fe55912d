"""Which arm to use: the cheapest of those that cannot be told from the best, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dabo_ray.analysis.statistics import ALPHA, BASIS_ARM, Verdict, compare, is_learned, worse_than_another


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """An arm of a study."""

    arm: str
    certainty: str
    """How sure it is, in a sentence."""


def recommend(arms: Sequence[Mapping[str, Any]]) -> Recommendation | None:
    """The arm to use; None without any.

    Of the arms that no test of the report finds worse than another one it is the cheapest to train with from now on:
    what it took to learn an augmentation that is in a file is spent. `none` is the cheapest of all, whatever the clock
    says.

    Args:
        arms: The `arms` of a summary, best test mean first.
    """
    if not arms:
        return None
    best, *_ = arms
    worse = _worse(arms)
    kept = [arm for arm in arms if arm is best or arm["name"] not in worse]
    chosen = min(kept, key=lambda arm: (arm["name"] != BASIS_ARM, _cost(arm)))
    return Recommendation(arm=chosen["name"], certainty=_certainty(chosen, best, kept, arms))


def _worse(arms: Sequence[Mapping[str, Any]]) -> set[str]:
    """Arms that are worse than another one: by the comparisons of the report, or by a test of every pair."""
    found = {name for name, p in worse_than_another(arms).items() if p <= ALPHA}
    for comparison in compare(arms):
        if comparison.verdict is Verdict.WORSE:
            found.add(comparison.arm)
        elif comparison.verdict is Verdict.BETTER and comparison.against == BASIS_ARM:
            found.add(BASIS_ARM)
        elif comparison.verdict is Verdict.BETTER:
            # Better than the best baseline is better than each of them.
            found |= {arm["name"] for arm in arms if not is_learned(arm)}
    return found


def _cost(arm: Mapping[str, Any]) -> float:
    cost: float | None = arm["use_ratio"]
    if cost is None:
        cost = arm["seconds"]
    return math.inf if cost is None else cost


def _certainty(
    chosen: Mapping[str, Any],
    best: Mapping[str, Any],
    kept: Sequence[Mapping[str, Any]],
    arms: Sequence[Mapping[str, Any]],
) -> str:
    num_seeds = min(len(arm["seeds"]) for arm in kept)
    mean, highest = (arm["test_score"]["mean"] for arm in (chosen, best))
    if len(arms) == 1:
        return f"It is the only arm that was scored on test: {mean:.2f} %, compared with nothing."
    if num_seeds < 2:
        return (
            f"It is the cheapest of {_names(kept)}, which a single seed cannot tell apart: chance may be all of it. "
            "More seeds say more: final.seeds."
        )
    if len(kept) == 1:
        return f"On test it is better than every other arm by the corrected tests ({mean:.2f} %, {num_seeds} seeds)."
    rest = "" if len(kept) == len(arms) else "; all other arms are worse"
    if chosen is best:
        others = [arm for arm in kept if arm is not chosen]
        return (
            f"It has the highest test mean ({mean:.2f} %) and is the cheapest to train with from now on; "
            f"{_names(others)} cannot be told from it over {num_seeds} seeds{rest}."
        )
    return (
        f"The highest test mean is that of {best['name']} ({highest:.2f} against {mean:.2f} %), but over {num_seeds} "
        f"seeds the two cannot be told apart, and {chosen['name']} is cheaper to train with from now on{rest}."
    )


def _names(arms: Sequence[Mapping[str, Any]]) -> str:
    *others, last = (arm["name"] for arm in arms)
    return f"{', '.join(others)} and {last}" if others else last
