"""Convergence of learned arms: which seed stands apart, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from dabo_ray.analysis.convergence import LearnedSeed, learned_seeds, spreads_text
from dabo_ray.analysis.results import summarize
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult


def result(
    seed: int, outer_loss: float, learned: Mapping[str, float] = {}, *, arm: str = "learned-1", method: str = "learned"
) -> TrialResult:
    name = f"final-{arm}-seed-{seed}"
    trial = Trial(name=name, phase=Phase.FINAL, arm=arm, method=method, seed=seed, epochs=3)
    return TrialResult(trial=trial, outcome=Outcome.COMPLETE, metrics={"outer_loss": outer_loss, **learned})


def spreads(rotation: float, shear: float, scale: float = 3.0) -> dict[str, float]:
    return {
        "rotation_spread_deg": rotation,
        "scale_spread_percent": scale,
        "shear_spread_deg": shear,
        "hypergradient_snr_log_spread": 1.4,
    }


GOOD = [result(seed, loss, spreads(19.0 + seed, 9.0)) for seed, loss in enumerate((0.08, 0.10, 0.12))]


def by_seed(results: list[TrialResult]) -> dict[int, LearnedSeed]:
    return {found.seed: found for found in learned_seeds(results)}


def test_a_seed_that_stands_apart_is_named_with_what_it_learned() -> None:
    found = by_seed([*GOOD, result(3, 0.73, spreads(7.0, 33.5))])
    assert found[3].warning == (
        "The trial final-learned-1-seed-3 did not converge: outer loss 0.73 against a median of 0.10 of the other "
        "seeds; it learned shear 33.5 degrees (others 9.0), and it missed rotation 7.0 degrees (others 20.0)."
    )
    assert found[3].others == 0.10
    assert [found[seed].warning for seed in range(3)] == ["", "", ""]
    # The lost seed is among the others of a good one.
    assert found[0].others == 0.12


def test_it_is_named_where_it_learned_the_same_too() -> None:
    found = by_seed([*GOOD, result(3, 0.73, spreads(20.0, 9.0))])
    assert found[3].warning.endswith("0.10 of the other seeds.")


def test_a_seed_that_never_began_is_named_and_is_no_measure_for_the_others() -> None:
    found = by_seed([*GOOD, result(3, math.nan, {**spreads(0.0, 0.0), "augmenter_updates": 0})])
    assert found[3].outer_loss is None
    assert found[3].warning.startswith("The trial final-learned-1-seed-3 did not begin to learn: its training loss")
    assert [found[seed].others for seed in range(3)] == pytest.approx([0.11, 0.10, 0.09])


def test_a_seed_that_began_late_is_told_to_be_trained_longer() -> None:
    found = by_seed([*GOOD, result(3, 0.11, {"rest_percent": 47.3}), result(4, 0.11, {"rest_percent": 33.0})])
    assert found[3].warning.startswith("The trial final-learned-1-seed-3 began to learn after 47 % of its updates")
    assert (found[3].learning, found[4].learning) == ("began late", "as the others")


@pytest.mark.parametrize(("loss", "is_far"), [(0.29, False), (0.31, True)])
def test_three_times_the_median_is_far(loss: float, is_far: bool) -> None:
    found = by_seed([*GOOD, result(3, loss)])
    assert bool(found[3].warning) == is_far
    assert not found[0].warning


def test_two_seeds_cannot_tell_which_of_them_is_wrong() -> None:
    found = learned_seeds([result(0, 0.1), result(1, 0.9)])
    assert [(seed.others, seed.warning) for seed in found] == [(None, ""), (None, "")]


def test_arms_are_judged_apart_and_only_those_that_learn_from_outer_images() -> None:
    others = [result(seed, 0.9, arm="learned-2") for seed in range(3)]
    failed = TrialResult(trial=result(9, 5.0).trial, outcome=Outcome.FAIL, metrics={"outer_loss": 5.0})
    adversarial = result(5, 5.0, arm="adversarial", method="adversarial")
    no_number = result(6, math.nan)
    found = learned_seeds([*others, failed, no_number, adversarial, *reversed(GOOD)])
    assert [(seed.arm, seed.seed) for seed in found] == [
        (f"learned-{rank}", seed) for rank in (1, 2) for seed in range(3)
    ]
    assert not any(seed.warning for seed in found)


def test_spreads_in_words() -> None:
    found = by_seed(GOOD)
    assert spreads_text(found[1].spreads) == "rotation 20.0 degrees, scale 3.0 %, shear 9.0 degrees"


def test_the_summary_has_every_seed() -> None:
    summary = summarize("digits", [*GOOD, result(3, 0.73)], None, {})
    assert [(seed["seed"], seed["outer_loss"], bool(seed["warning"])) for seed in summary["learned_seeds"]] == [
        (0, 0.08, False),
        (1, 0.10, False),
        (2, 0.12, False),
        (3, 0.73, True),
    ]
