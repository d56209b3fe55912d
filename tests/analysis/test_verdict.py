"""The answer of a study in words: names, numbers, and no claim that the numbers do not carry."""

import pytest

from dabo_ray.analysis.statistics import BEST_BASELINE, compare, half_width_95
from dabo_ray.analysis.verdict import answer, headline, p_text


def arm(name, values, method=None):
    mean = sum(values) / len(values)
    accuracy = {"mean": mean, "ci95": half_width_95(values), "values": values}
    return {"name": name, "method": method or name, "seeds": list(range(len(values))), "test_score": accuracy}


def learned(values, name="learned-1"):
    return arm(name, values, "learned")


NONE = arm("none", [90.0, 91.0, 89.0, 90.5, 89.5])


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ([], "No answer yet: the final phase has no complete trial, so nothing has been scored on test."),
        (
            [learned([93.0, 93.5, 92.5, 93.0, 93.0]), NONE],
            "The learned arm learned-1 is 3.00 points better on test than the best baseline, none "
            "(95 % interval 2.38 to 3.62, p < 0.001, 5 seeds).",
        ),
        (
            [NONE, learned([85.0, 85.5, 84.5, 86.0, 84.0])],
            "The learned arm learned-1 is 5.00 points worse on test than the best baseline, none "
            "(95 % interval 4.38 to 5.62, p < 0.001, 5 seeds).",
        ),
        (
            [learned([91.0, 90.0, 90.0, 91.0, 89.5]), NONE],
            "The learned arm learned-1 and the best baseline, none, cannot be told apart on test: the difference is "
            "+0.30 points (95 % interval -0.74 to 1.34, p = 0.47, 5 seeds).",
        ),
        (
            [learned([99.0]), NONE],
            "The learned arm learned-1 and the best baseline, none, cannot be told apart on test: the difference is "
            "+9.00 points (1 seed, which says nothing about chance).",
        ),
        (
            [learned([93.0, 94.0]), arm("none", [90.0, 91.0])],
            "The learned arm learned-1 and the best baseline, none, cannot be told apart on test: the difference is "
            "+3.00 points (p = 0.50, 2 seeds; they agree too well for an interval).",
        ),
        (
            [NONE],
            "No comparison: no learned arm has been scored on test. "
            "The best arm, none, reached 90.00 % on test (95 % interval 89.02 to 90.98, 5 seeds).",
        ),
        (
            [learned([93.0])],
            "No comparison: no baseline has been scored on test. "
            "The best arm, learned-1, reached 93.00 % on test (1 seed).",
        ),
        (
            [learned([93.0]), {**NONE, "seeds": [7, 8, 9, 10, 11]}],
            "No comparison: no seed has been scored for a learned arm and for a baseline. "
            "The best arm, learned-1, reached 93.00 % on test (1 seed).",
        ),
    ],
)
def test_answer_is_honest(arms, expected):
    assert answer(arms, compare(arms)) == expected


def test_the_headline_is_the_best_learned_arm_and_pays_for_the_choice():
    alone = [learned([92.0, 92.6, 91.0, 92.5, 91.5]), NONE]
    chosen = [*alone[:1], learned([91.0, 92.0, 90.5, 91.5, 91.0], "learned-2"), NONE]
    first, best = (headline(arms, compare(arms)) for arms in (alone, chosen))
    assert (best.arm, best.against) == ("learned-1", BEST_BASELINE)
    assert best.p > first.p
    assert best.low < first.low


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0, "p < 0.001"), (0.0009, "p < 0.001"), (0.0104, "p = 0.010"), (0.0499, "p = 0.050"), (0.5, "p = 0.50")],
)
def test_p_values_have_the_digits_that_count(p, text):
    assert p_text(p) == text
