"""Seeds that stand apart from the others of their arm."""

from __future__ import annotations

from typing import Any

from dabo_ray.analysis.outlying import outlying_seeds


def arm(*values: float) -> dict[str, Any]:
    trials = [f"final-learned-1-seed-{at}" for at in range(len(values))]
    return {"name": "learned-1", "trials": trials, "test_score": {"values": list(values)}}


def test_a_lost_seed_is_named_with_the_others():
    (sentence,) = outlying_seeds([arm(97.6, 97.9, 83.6, 97.2, 98.0)])
    assert sentence == (
        "The trial final-learned-1-seed-2 stands apart on test: 83.60 % against 97.67 % on average of the other 4 "
        "seeds of learned-1 (97.20 to 98.00)."
    )


def test_scatter_small_differences_and_few_seeds_are_not():
    assert not outlying_seeds([arm(90.0, 94.0, 88.0, 96.0, 92.0), arm(97.0, 97.0, 97.0, 98.9), arm(97.0, 97.1, 60.0)])
    assert len(outlying_seeds([arm(97.0, 97.0, 97.0, 99.1)])) == 1
