"""That the figures of arms show every arm, and the front those that no other beats."""

import itertools

import numpy as np
import pytest
from matplotlib.text import Text

from dabo_ray.reporting.figures import arms as figures


def test_no_arms_give_no_figure(make_arm):
    assert figures.score_per_arm([]) is None
    assert figures.score_by_cost([make_arm("flip", [90], cost_ratio=None)]) is None


def test_arm_figures_name_every_arm(make_arm, texts):
    arms = [
        make_arm("learned-1", [93, 94, 92], method="learned", cost_ratio=4.5),
        make_arm("frozen-1", [93, 94, 92], method="frozen", cost_ratio=5.5),
        make_arm("trivialaugment", [90.0], ci95=None),
        make_arm("flip-equal-cost", [88.0, 87.0], cost_ratio=4.5),
        make_arm("a price of $5 and $6", [80, 81]),
        make_arm("_hidden <b>&", [80, 81], ci95=40.0, cost_ratio=0.9),
        make_arm("a name that is far too long to be shown in full", [70, 71], cost_ratio=20.0),
    ]
    shown = {"learned-1", "frozen-1", "trivialaugment", "flip-equal-cost", "a price of $5 and $6"}
    shown |= {"_hidden &lt;b&gt;&amp;", "learned", "learned, frozen", "baseline", "baseline, equal cost"}
    shown |= {"a name that is far to\N{HORIZONTAL ELLIPSIS}"}
    for uri in (figures.score_per_arm(arms), figures.score_by_cost(arms)):
        assert shown <= texts(uri)


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_what_brute_force_finds(make_arm, seed):
    generator = np.random.default_rng(seed)
    arms = [
        make_arm(str(at), [float(mean)], cost_ratio=float(cost))
        for at, (mean, cost) in enumerate(generator.integers(0, 8, (12, 2)))
    ]

    def beats(a, b):
        better = (a["test_score"]["mean"] - b["test_score"]["mean"], b["cost_ratio"] - a["cost_ratio"])
        return min(better) >= 0 and max(better) > 0

    best = {a["name"] for a in arms if not any(beats(b, a) for b in arms)}
    front = figures.best_for_their_cost([*arms, make_arm("unpriced", [99], cost_ratio=None)])
    assert {a["name"] for a in front} == best
    points = [(a["cost_ratio"], a["test_score"]["mean"]) for a in front]
    assert points == sorted(points)


def test_the_front_is_drawn_and_names_do_not_overlap(drawn, make_arm):
    arms = [make_arm(f"arm-{at}", [90 + at * 0.01], cost_ratio=1.0 + at) for at in range(20)]
    figures.score_by_cost(arms)
    axes = drawn[0].axes[0]
    front = axes.lines[0].get_xydata().tolist()
    assert (front[0], front[-1]) == ([1.0, 90.0], [20.0, 90.19])
    # Also a front of one arm is a line: of what more time does not buy.
    figures.score_by_cost([make_arm("none", [90.0], cost_ratio=1.0), make_arm("slow", [80.0], cost_ratio=3.0)])
    assert drawn[1].axes[0].lines[0].get_xydata().tolist() == [[1.0, 90.0], [3.0, 90.0]]
    drawn[0].draw_without_rendering()
    # An annotation's own extent has its arrow in it.
    boxes = sorted((Text.get_window_extent(text) for text in axes.texts), key=lambda box: box.y0)
    assert len(boxes) == 20
    assert all(lower.y1 <= upper.y0 + 1 for lower, upper in itertools.pairwise(boxes))


def test_figures_leave_pyplot_alone(make_arm):
    import matplotlib.pyplot as plt

    figures.score_per_arm([make_arm("none", [90, 91])])
    assert plt.get_fignums() == []
