"""Tuned baselines under the plan: every combination once, on one seed, and the best of them on the fresh seeds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.baselines import baseline_trials
from dabo_ray.planning.plan import Plan
from dabo_ray.trials import Outcome, Phase, Trial
from tests.planning.fake_backend import (
    SECONDS,
    Backend,
    Killed,
    hashed_score,
    study_with,
    summary_of,
    url_in,
)

TUNED = {"name": "randaugment", "tune": {"num_ops": {"int": [1, 2]}, "magnitude": {"choice": [5, 9, 14]}}}
BASELINES = ["none", TUNED, {"name": "affine", "tune": {"degrees": {"choice": [5, 45]}}}]
COMBINATIONS = 1 + 6 + 2


def tuned_study(**changes: Any) -> StudyConfig:
    return study_with(
        **{"baselines": BASELINES, "trials": 2, "pruner": {"name": "none"}, "classifier": {"epochs": 2}, **changes}
    )


def by_magnitude(trial: Trial, epoch: int) -> float | None:
    """The best of randaugment is the one with two operations of strength 9; the more degrees, the worse."""
    settings: dict[str, float] = {key.rpartition(".")[2]: value for key, value in trial.settings.items()}
    if trial.arm == "randaugment":
        return 70 + settings["num_ops"] - abs(settings["magnitude"] - 9) + epoch
    return 60 - settings.get("degrees", 0) + epoch if trial.arm == "affine" else hashed_score(trial, epoch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Backend:
    """The study run to its end once."""
    return Backend(tuned_study(), url_in(tmp_path_factory.mktemp("tuned")), by_magnitude).run()


def of_phase(backend: Backend, phase: Phase) -> list[Trial]:
    return [trial for trial in backend.issued if trial.phase is phase]


def test_every_combination_is_trained_once_all_on_the_seed_of_their_arm(whole):
    trials = of_phase(whole, Phase.BASELINES)
    assert whole.plan.planned(Phase.BASELINES) == len(trials) == COMBINATIONS
    settings = [trial.settings for trial in trials if trial.arm == "randaugment"]
    assert settings == [
        {"baselines.randaugment.num_ops": num_ops, "baselines.randaugment.magnitude": magnitude}
        for num_ops in (1, 2)
        for magnitude in (5, 9, 14)
    ]
    seeds = {(trial.arm, trial.seed) for trial in trials}
    assert len(seeds) == len({seed for _, seed in seeds}) == 3
    assert {trial.name for trial in trials if trial.arm == "affine"} == {"baseline-affine-00", "baseline-affine-01"}
    assert trials[0].name == "baseline-none"


def test_every_arm_is_tried_before_any_is_tried_again(whole):
    arms = [trial.arm for trial in of_phase(whole, Phase.BASELINES)]
    assert arms == ["none", "randaugment", "affine", "randaugment", "affine", *["randaugment"] * 4]


def test_an_arm_that_is_not_tuned_keeps_its_trial():
    """As it would be beside plain baselines."""
    plain_study = tuned_study(baselines=["none", "randaugment", "affine"])
    plain = {trial.name: trial for trial in baseline_trials(plain_study)}
    tuned = {trial.name: trial for trial in baseline_trials(tuned_study())}
    assert tuned["baseline-none"] == plain["baseline-none"]
    assert tuned["baseline-randaugment-00"].seed == plain["baseline-randaugment"].seed


def test_the_best_combination_alone_is_compared(whole):
    finals = [trial for trial in of_phase(whole, Phase.FINAL) if trial.method in ("randaugment", "affine")]
    assert Counter(trial.arm for trial in finals) == {"randaugment": 2, "affine": 2}
    origins = {trial.arm: (trial.origin, dict(trial.settings)) for trial in finals}
    assert origins == {
        "randaugment": (
            "baseline-randaugment-04",
            {"baselines.randaugment.num_ops": 2, "baselines.randaugment.magnitude": 9},
        ),
        "affine": ("baseline-affine-00", {"baselines.affine.degrees": 5}),
    }
    seeds = {arm: [t.seed for t in of_phase(whole, Phase.FINAL) if t.arm == arm] for arm in ("none", "randaugment")}
    assert seeds["none"] == seeds["randaugment"]


def test_of_equals_the_first_is_compared(tmp_path):
    study = tuned_study(final={"top": 0, "seeds": 1})
    plan = Plan(study, url_in(tmp_path))
    trials = [plan.next() for _ in range(COMBINATIONS)]
    for trial in reversed(trials):
        assert isinstance(trial, Trial)
        plan.finish(trial.name, Outcome.COMPLETE, {"epoch": 2, "select_accuracy": 90.0})
    finals = [plan.next() for _ in range(3)]
    assert [final.origin for final in finals if isinstance(final, Trial)] == [
        "baseline-none",
        "baseline-randaugment-00",
        "baseline-affine-00",
    ]


def test_a_combination_that_fails_leaves_the_others(tmp_path):
    def failing(trial: Trial, epoch: int) -> float | None:
        return (
            None if trial.name in ("baseline-randaugment-04", "baseline-randaugment-00") else by_magnitude(trial, epoch)
        )

    backend = Backend(tuned_study(), url_in(tmp_path), failing).run()
    assert {trial.origin for trial in backend.issued if trial.phase is Phase.FINAL and trial.arm == "randaugment"} == {
        "baseline-randaugment-01"
    }
    outcomes = Counter(r.outcome for r in backend.ended if r.trial.phase is Phase.BASELINES)
    assert outcomes == {Outcome.COMPLETE: COMBINATIONS - 2, Outcome.FAIL: 2}


def test_an_arm_whose_combinations_all_fail_is_not_compared(tmp_path):
    def failing(trial: Trial, epoch: int) -> float | None:
        return None if trial.arm == "affine" else by_magnitude(trial, epoch)

    backend = Backend(tuned_study(), url_in(tmp_path), failing).run()
    assert {trial.method for trial in of_phase(backend, Phase.FINAL)} == {"none", "randaugment", "learned", "frozen"}


@pytest.mark.parametrize("calls", [8, 33, 60])
def test_killed_and_resumed_it_ends_the_same(tmp_path, whole, calls):
    """While combinations are tried, at the last of them, and after it."""
    trained: dict[str, int] = {}
    with pytest.raises(Killed):
        Backend(tuned_study(), url_in(tmp_path), by_magnitude, trained, calls).run()
    resumed = Backend(tuned_study(), url_in(tmp_path), by_magnitude, trained).run()
    assert summary_of(resumed.plan.results()) == summary_of(whole.ended)


FINALS = (3 + 2 * 2) * 2
"""Three baselines, two settings that are also frozen, two seeds."""

SEARCHES = 2


def test_combinations_leave_the_search_and_the_finals_their_trials(tmp_path):
    backend = Backend(tuned_study(budget={"trials": 5 + SEARCHES + FINALS}), url_in(tmp_path), by_magnitude).run()
    assert Counter(trial.phase for trial in backend.issued) == {
        Phase.BASELINES: 5,
        Phase.SEARCH: SEARCHES,
        Phase.FINAL: FINALS,
    }
    assert "5 used, 16 kept for later phases; baselines ended after 5 of 9 trials" in backend.plan.budget_note
    finals = of_phase(backend, Phase.FINAL)
    assert {trial.origin for trial in finals if trial.arm == "randaugment"} == {"baseline-randaugment-01"}


def test_every_arm_is_tried_once_whatever_the_finals_need(tmp_path):
    backend = Backend(tuned_study(budget={"trials": 4}), url_in(tmp_path), by_magnitude).run()
    assert [trial.name for trial in of_phase(backend, Phase.BASELINES)] == [
        "baseline-none",
        "baseline-randaugment-00",
        "baseline-affine-00",
    ]


def test_with_more_budget_the_rest_is_tried_and_the_best_compared_anew(tmp_path):
    few = Backend(tuned_study(budget={"trials": 5 + SEARCHES + FINALS}), url_in(tmp_path), by_magnitude).run()
    more = Backend(tuned_study(budget={"trials": 200}), url_in(tmp_path), by_magnitude, few.trained).run()
    names = [trial.name for trial in few.issued + more.issued]
    assert len(set(names)) == len(names)
    folder = tmp_path / "whole"
    folder.mkdir()
    at_once = Backend(tuned_study(budget={"trials": 200}), url_in(folder), by_magnitude).run()
    assert tables(more) == tables(at_once)


def tables(backend: Backend) -> list[Any]:
    """Every trial without its name, which tells of a final one when it was first run."""
    results = backend.plan.results()
    return sorted((r.trial.arm, r.trial.seed, repr(r.trial.settings), sorted(r.metrics.items())) for r in results)


def test_hours_of_a_tuned_study_stay_within_the_budget(tmp_path: Path):
    limit = (3 + 3 + SEARCHES + FINALS * 1.25 + 0.5) * 2 * SECONDS / 3600
    backend = Backend(tuned_study(budget={"gpu_hours": limit}), url_in(tmp_path), by_magnitude).run()
    assert Counter(trial.phase for trial in backend.issued) == {
        Phase.BASELINES: 6,
        Phase.SEARCH: SEARCHES,
        Phase.FINAL: FINALS,
    }
    assert sum(result.metrics["gpu_hours"] for result in backend.ended) <= limit


def test_equal_cost_is_that_of_the_best_combination(tmp_path):
    final = {"top": 1, "seeds": 1, "equal_cost": ["randaugment"]}
    backend = Backend(tuned_study(final=final), url_in(tmp_path), by_magnitude).run()
    (longer,) = (trial for trial in backend.issued if trial.arm == "randaugment-equal-cost")
    assert (longer.origin, longer.method) == ("baseline-randaugment-04", "randaugment")
    assert longer.settings["baselines.randaugment.magnitude"] == 9
