"""That a learned distribution is drawn as what it is, beside the true one."""

import numpy as np
import pytest

from dabo_ray.augment.affine import AffineAugmenter
from dabo_ray.reporting.figures import distribution as figures


def uniform(low, high, seed, count=20_000):
    return {"rotation_deg": np.random.default_rng(seed).uniform(low, high, count)}


def test_densities_are_those_of_what_was_drawn(drawn, texts):
    draws = {"learned-1": [uniform(-45, 45, 0), uniform(-30, 30, 1)], "learned-2": [uniform(-10, 10, 2)]}
    shown = figures.learned_and_true(draws, {"rotation_deg": (-45.0, 45.0), "scale_factor": (0.5, 1.0)})
    assert list(shown) == ["rotation_deg"]
    assert {"learned-1", "learned-2", "the shift itself", "rotation (degrees)"} <= texts(shown["rotation_deg"])
    axes = drawn[0].axes[0]
    lines = {patch.get_label(): patch.get_data() for patch in axes.patches if patch.get_label().startswith("learned")}
    heights, edges, _ = lines["learned-1"]
    middle, outside = np.searchsorted(edges, [0.0, 40.0]) - 1
    # Half of the draws are at home in 90 degrees, half in 60.
    assert heights[middle] == pytest.approx(0.5 / 90 + 0.5 / 60, rel=0.15)
    assert heights[outside] == pytest.approx(0.5 / 90, rel=0.15)
    assert np.sum(heights * np.diff(edges)) == pytest.approx(1, abs=0.01)
    truth = axes.lines[0].get_xydata().tolist()
    assert truth == [[-45, 0], [-45, 1 / 90], [45, 1 / 90], [45, 0]]
    assert edges[0] < -45 < 45 < edges[-1]


def test_a_seed_that_learned_nothing_does_not_hide_the_others(drawn):
    draws = {"learned-1": [uniform(-45, 45, 0), {"rotation_deg": np.zeros(20_000)}]}
    figures.learned_and_true(draws, {"rotation_deg": (-45.0, 45.0)})
    assert drawn[0].axes[0].get_ylim()[1] <= 5.001 / 90


def test_nothing_learned_or_no_known_truth_gives_no_figure():
    assert figures.learned_and_true({}, {"rotation_deg": (-45.0, 45.0)}) == {}
    assert figures.learned_and_true({"learned-1": [uniform(-1, 1, 0)]}, {}) == {}


def test_all_that_an_augmenter_does_is_named(texts):
    shown = texts(figures.all_quantities(AffineAugmenter(operations=["rotation", "shear"])))
    assert {"rotation", "shear"} <= shown
    assert "scale" not in shown


def test_quantities_in_words():
    assert figures.in_words("translation_x_percent") == "translation x (%)"
    assert figures.in_words("scale_factor") == "scale (times)"
