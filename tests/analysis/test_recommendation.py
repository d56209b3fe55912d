"""Which arm is recommended, and in which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_rel

from dabo_ray.analysis.recommendation import recommend
from dabo_ray.analysis.statistics import Verdict, compare, worse_than_another


def arm(name: str, values: list[float], use: float | None = 1.0, method: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "method": method or name,
        "settings": {},
        "seeds": list(range(len(values))),
        "test_score": {"mean": float(np.mean(values)), "ci95": None, "values": values},
        "seconds": use,
        "cost_ratio": use,
        "use_ratio": use,
    }


def best_first(*arms: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(arms, key=lambda each: -each["test_score"]["mean"])


BEST = [98.0, 98.2, 97.6, 99.1, 98.0]
CLOSE = [98.1, 97.6, 98.4, 98.0, 98.3]
FAR = [88.0, 88.2, 87.1, 89.0, 88.3]


def test_the_best_alone() -> None:
    found = recommend(best_first(arm("learned-1", BEST, 2.0), arm("affine", FAR, 0.9), arm("none", [70.0] * 5)))
    assert found is not None and found.arm == "learned-1"
    assert found.certainty == "On test it is better than every other arm by the corrected tests (98.18 %, 5 seeds)."


def test_the_cheapest_of_those_that_cannot_be_told_apart() -> None:
    found = recommend(best_first(arm("learned-1", BEST, 2.0), arm("affine", CLOSE, 0.9), arm("none", FAR)))
    assert found is not None and found.arm == "affine"
    assert found.certainty == (
        "The highest test mean is that of learned-1 (98.18 against 98.08 %), but over 5 seeds the two cannot be told "
        "apart, and affine is cheaper to train with from now on; all other arms are worse."
    )
    dearer = recommend(best_first(arm("learned-1", BEST, 2.0), arm("affine", CLOSE, 3.0)))
    assert dearer is not None and dearer.arm == "learned-1"
    assert dearer.certainty == (
        "It has the highest test mean (98.18 %) and is the cheapest to train with from now on; affine cannot be "
        "told from it over 5 seeds."
    )


def test_it_does_not_contradict_the_comparisons_of_the_report() -> None:
    """What the report calls better than none is not put aside for it, though a test of all pairs sees too little."""
    by_hand = {name: [80.0 + at, 81.1, 79.5, 82.0, 80.2] for at, name in enumerate(("flip", "crop", "cutout"))}
    arms = best_first(
        *(arm(name, values) for name, values in by_hand.items()),
        arm("none", [79.5, 79.9, 79.0, 80.6, 79.6]),
        arm("learned-1", [80.6, 81.4, 80.0, 81.2, 81.5], 2.0, method="learned"),
    )
    verdicts = {(c.arm, c.against): c.verdict for c in compare(arms)}
    assert verdicts["learned-1", "none"] is Verdict.BETTER
    assert worse_than_another(arms)["none"] > 0.05
    found = recommend(arms)
    assert found is not None and found.arm != "none"


def test_doing_nothing_is_cheapest_whatever_the_clock_says() -> None:
    found = recommend(best_first(arm("flip", BEST, 0.5), arm("none", CLOSE, 1.0)))
    assert found is not None and found.arm == "none"


def test_one_seed_and_one_arm_say_little_and_say_so() -> None:
    found = recommend(best_first(arm("learned-1", [98.0], 2.0), arm("none", [70.0])))
    assert found is not None and found.arm == "none" and "single seed" in found.certainty
    alone = recommend([arm("learned-1", BEST)])
    assert alone is not None and "compared with nothing" in alone.certainty
    assert recommend([]) is None


def test_costs_that_were_not_measured_come_last() -> None:
    found = recommend(best_first(arm("learned-1", BEST, None), arm("affine", CLOSE, 5.0)))
    assert found is not None and found.arm == "affine"


def test_p_values_are_those_of_paired_tests_with_bonferroni_and_holm() -> None:
    """Against scipy: one-sided against each other arm, doubled, times the number of others, Holm over the arms."""
    arms = best_first(arm("a", BEST), arm("b", CLOSE), arm("c", FAR))
    raw = {}
    for one in arms:
        values = one["test_score"]["values"]
        others = [other["test_score"]["values"] for other in arms if other is not one]
        raw[one["name"]] = min(1, 2 * 2 * min(ttest_rel(values, other, alternative="less").pvalue for other in others))
    ordered = sorted(raw, key=raw.__getitem__)
    expected, largest = {}, 0.0
    for rank, name in enumerate(ordered):
        largest = max(largest, min(1.0, (3 - rank) * raw[name]))
        expected[name] = largest
    assert worse_than_another(arms) == pytest.approx(expected)
    assert expected["c"] < 0.001 < expected["b"]
