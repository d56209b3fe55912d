"""Effects of settings against paired tests and sums of squares that are worked out by other means."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.stats import f as f_distribution
from scipy.stats import t as student
from scipy.stats import ttest_ind, ttest_rel

from dabo_ray.analysis.effects import in_order, interplay, levels_of, setting_effects, settings_answer
from dabo_ray.analysis.results import summarize
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult


def searched(settings: dict[str, Any], accuracy: float, seed: int = 0, **more: Any) -> TrialResult:
    trial = Trial(
        name=f"search-{more.pop('name', 0)}",
        phase=more.pop("phase", Phase.SEARCH),
        arm="learned",
        method="learned",
        settings=settings,
        seed=seed,
        epochs=2,
    )
    return TrialResult(
        trial=trial, outcome=more.pop("outcome", Outcome.COMPLETE), metrics={"select_accuracy": accuracy}
    )


def draws(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, count)


def test_two_values_over_seeds_are_a_paired_t_test() -> None:
    blocks, noise = 5 * draws(8), draws(16, 1).reshape(2, 8)
    a, b = 80 + blocks + noise[0], 82 + blocks + noise[1]
    results = [searched({"lr": lr}, y, seed) for lr, ys in ((0.1, a), (0.2, b)) for seed, y in enumerate(ys)]
    (effect,) = setting_effects(results)
    expected = ttest_rel(b, a)
    interval = expected.confidence_interval(0.95)
    assert (effect.key, effect.best, effect.worst) == ("lr", "0.2", "0.1")
    assert effect.difference == pytest.approx(np.mean(b - a))
    assert (effect.low, effect.high) == pytest.approx((interval.low, interval.high))
    assert effect.p == pytest.approx(expected.pvalue)
    assert [level.mean for level in effect.levels] == pytest.approx([a.mean(), b.mean()])


def test_two_values_of_one_seed_are_a_plain_t_test() -> None:
    a, b = 80 + draws(5), 83 + draws(7, 1)
    results = [searched({"kind": kind}, y) for kind, ys in (("x", a), ("y", b)) for y in ys]
    (effect,) = setting_effects(results)
    interval = ttest_ind(b, a).confidence_interval(0.95)
    assert (effect.low, effect.high) == pytest.approx((interval.low, interval.high))


def test_several_settings_pay_for_each_other_and_for_all_pairs() -> None:
    """A grid of 3 x 2 over 3 seeds: means are those of the rows, the interval is of the model's residuals."""
    noise = iter(0.3 * draws(18))
    results = [
        searched({"steps": steps, "kind": kind}, 90 + steps + 2 * (kind == "b") + seed + next(noise), seed)
        for steps, kind, seed in product((1, 2, 4), "ab", range(3))
    ]
    steps, kind = setting_effects(results)
    table = np.array([r.metrics["select_accuracy"] for r in results]).reshape(3, 2, 3)
    assert (steps.best, steps.worst, kind.best) == ("4", "1", "b")
    assert [level.mean for level in steps.levels] == pytest.approx(table.mean((1, 2)).tolist())
    assert [level.trials for level in steps.levels] == [6, 6, 6]
    rows, columns = table.mean((1, 2))[:, None, None], table.mean((0, 2))[None, :, None]
    fitted = rows + columns + table.mean((0, 1)) - 2 * table.mean()
    freedom = 18 - 1 - 2 - 1 - 2
    error = np.sqrt(np.square(table - fitted).sum() / freedom * (2 / 6))
    half = student.ppf(1 - 0.025 / (3 + 1), freedom) * error
    assert steps.high is not None and steps.high - steps.difference == pytest.approx(half)


def test_interplay_is_the_f_test_of_the_products() -> None:
    noise = iter(0.2 * draws(12))
    grid = list(product((1, 2), ("a", "b", "c"), range(2)))
    results = [
        searched({"n": n, "kind": kind}, 80 + 3 * n * (kind == "c") + next(noise), seed) for n, kind, seed in grid
    ]
    y = np.array([r.metrics["select_accuracy"] for r in results])

    def squares(*columns: np.ndarray) -> float:
        design = np.stack([np.ones(12), *columns], 1).astype(float)
        return float(np.square(y - design @ np.linalg.lstsq(design, y, rcond=None)[0]).sum())

    n, b, c, seed = (
        np.array([test(row) for row in grid])
        for test in (
            lambda row: row[0] == 2,
            lambda row: row[1] == "b",
            lambda row: row[1] == "c",
            lambda row: row[2] == 1,
        )
    )
    plain, full = squares(n, b, c, seed), squares(n, b, c, seed, n & b, n & c)
    expected = f_distribution.sf((plain - full) / 2 / (full / 5), 2, 5)
    (found,) = interplay(results)
    assert found.p == pytest.approx(expected)
    assert "What kind does depends on n." in settings_answer(*answers(results), "accuracy")


def answers(results: list[TrialResult]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return [asdict(e) for e in setting_effects(results)], [asdict(p) for p in interplay(results)]


def test_numbers_of_many_values_are_sorted_into_thirds() -> None:
    results = [searched({"lr": 10.0**-at}, 80 + at) for at in range(9)]
    assert set(levels_of(results, "lr")) == {"1e-08 to 1e-06", "1e-05 to 0.001", "0.01 to 1"}
    (effect,) = setting_effects(results)
    assert [level.trials for level in effect.levels] == [3, 3, 3]
    assert in_order(["16", "2", "not set", "0.1 to 1"]) == ["0.1 to 1", "2", "16", "not set"]


def test_what_says_nothing_is_said_to_say_nothing() -> None:
    two = [searched({"n": 1}, 80.0), searched({"n": 2}, 81.0)]
    (effect,) = setting_effects(two)
    assert (effect.low, effect.high, effect.p) == (None, None, 1.0)
    assert "too few trials" in settings_answer(*answers(two), "accuracy")
    # Both settings change together: which of them did it cannot be told.
    alias = [searched({"n": n, "m": n}, 80.0 + n + 0.1 * at) for n in (1, 2) for at in range(3)]
    assert all(effect.low is None for effect in setting_effects(alias))
    nothing = [searched({"n": 1}, 80.0), searched({"n": 1}, 81.0)]
    assert setting_effects(nothing) == []
    assert settings_answer([], [], "accuracy").startswith("No answer yet")


def test_pruned_trials_and_other_phases_do_not_count() -> None:
    results = [searched({"n": n}, 80.0 + n + at) for n in (1, 2) for at in (0.0, 0.5)]
    more = [
        searched({"n": 2}, 10.0, outcome=Outcome.PRUNED),
        searched({"n": 2}, 10.0, phase=Phase.FINAL),
        searched({"n": 2}, float("nan")),
    ]
    assert setting_effects([*results, *more]) == setting_effects(results)


def test_a_study_of_settings_is_answered_by_them() -> None:
    noise = iter(0.1 * draws(10))
    key = "bilevel.inner_steps"
    results = [searched({key: n}, 80 + 0.1 * n + next(noise), seed) for n in (1, 16) for seed in range(5)]
    final = [
        TrialResult(
            trial=Trial(name=f"final-{arm}-seed-0", phase=Phase.FINAL, arm=arm, method=method, seed=0, epochs=2),
            outcome=Outcome.COMPLETE,
            metrics={"test_accuracy": test},
        )
        for arm, method, test in (("none", "none", 80.0), ("learned-1", "learned", 78.0))
    ]
    summary = summarize("a", [*results, *final], 1.0, {}, question="settings")
    assert summary["answer"].startswith("bilevel.inner_steps: 16 is 1.")
    assert "none" not in summary["answer"]
    assert json.loads(json.dumps(summary, allow_nan=False))["settings"][0]["key"] == "bilevel.inner_steps"
    assert "learned-1" in summarize("a", [*results, *final], 1.0, {})["answer"]
