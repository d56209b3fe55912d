"""Importance of settings, on searches where it is known which one matters."""

import warnings

import numpy as np
import pytest

from dabo_ray.analysis.importance import MIN_TRIALS, importance
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult


def search(accuracy_of, num_trials=60, outcome=Outcome.COMPLETE, noise=0.01, seed=0):
    generator = np.random.default_rng(seed)
    results = []
    for at in range(num_trials):
        settings = {
            "augmenter.lr": float(10 ** generator.uniform(-3, 0)),
            "bilevel.inner_steps": int(generator.integers(1, 9)),
            "augmenter.name": str(generator.choice(["affine", "policy"])),
            "classifier.epochs": 5,
        }
        trial = Trial(
            name=f"search-{at}",
            phase=Phase.SEARCH,
            arm="learned",
            method="learned",
            settings=settings,
            seed=0,
            epochs=5,
        )
        # The noise breaks ties, which another setting must not do.
        metrics = {"select_accuracy": float(accuracy_of(settings)) + noise * float(generator.uniform())}
        results.append(TrialResult(trial=trial, outcome=outcome, metrics=metrics))
    return results


@pytest.mark.parametrize(
    ("key", "accuracy_of"),
    [
        ("augmenter.lr", lambda s: 90 - abs(np.log10(s["augmenter.lr"]) + 2)),
        ("bilevel.inner_steps", lambda s: 90 - s["bilevel.inner_steps"]),
        ("augmenter.name", lambda s: 90 + 5 * (s["augmenter.name"] == "policy")),
    ],
)
def test_the_setting_that_matters_has_the_largest_share(key, accuracy_of):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shares = importance(search(accuracy_of))
    assert max(shares, key=shares.get) == key
    assert sum(shares.values()) == pytest.approx(1)
    assert "classifier.epochs" not in shares


def test_a_setting_that_only_some_trials_have_is_judged_by_these():
    results = search(lambda s: 90 - s["bilevel.inner_steps"])
    for result in results[::2]:
        result.trial.settings["policy.depth"] = int(result.trial.settings["bilevel.inner_steps"] > 4)
    assert "policy.depth" in importance(results)


def test_nothing_is_said_where_nothing_can_be():
    by_steps = lambda s: 90 - s["bilevel.inner_steps"]  # noqa: E731
    assert importance([]) == {}
    assert importance(search(by_steps, MIN_TRIALS - 1)) == {}
    assert importance(search(by_steps, outcome=Outcome.PRUNED)) == {}
    assert importance(search(lambda s: 90.0, noise=0.0)) == {}
