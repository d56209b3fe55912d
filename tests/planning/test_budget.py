"""A study that its budget ends keeps enough for its finals, says which limit it was, and can be extended."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dabo_ray.config.schema import ResourcesConfig, StudyConfig
from dabo_ray.planning.baselines import baseline_trials
from dabo_ray.planning.budget import BudgetTracker, gpu_hours
from dabo_ray.planning.plan import Plan
from dabo_ray.trials import Outcome, Phase
from tests.planning.fake_backend import SECONDS, Backend, hashed_score, study_with, summary_of, url_in

HOURS_PER_EPOCH = SECONDS / 3600
FINALS = 12
"""Of the study with two baselines, two settings that are also frozen, and two seeds."""


def with_budget(**budget: Any) -> StudyConfig:
    return study_with(trials=20, pruner={"name": "none"}, budget=budget)


def count(backend: Backend, phase: Phase) -> int:
    return sum(result.trial.phase is phase for result in backend.plan.results())


def hours(backend: Backend) -> float:
    return sum(result.metrics["gpu_hours"] for result in backend.plan.results())


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, 2.0),
        ({"workers": 4}, 8.0),
        ({"workers": 2, "gpus_per_worker": 2}, 8.0),
        ({"workers": 1, "gpus_per_worker": 0.5}, 1.0),
    ],
)
def test_hours_count_devices(resources, expected):
    assert gpu_hours(ResourcesConfig(**resources), 7200) == expected


def test_a_label_does_not_change_what_a_baseline_is_expected_to_use():
    expected = []
    for label in ("random_augmenter", "untrained"):
        study = study_with(baselines=["none", {"name": "random_augmenter", "label": label}])
        budget = BudgetTracker(study, lambda: 0.0)
        for trial in baseline_trials(study):
            budget.note(trial, {"epoch": 1.0, "seconds": 10.0 if trial.arm == "none" else 1.0})
        expected.append(budget.final_phase())
    assert expected[0] == expected[1]


def test_without_limits_nothing_is_said(tmp_path):
    backend = Backend(with_budget(), url_in(tmp_path), hashed_score).run()
    assert (count(backend, Phase.SEARCH), backend.plan.budget_note) == (20, "")


@pytest.mark.parametrize("key", ["gpu_hours", "money"])
def test_the_search_leaves_the_finals_their_hours(tmp_path, key):
    # Two baselines, seven searches and all finals, and half a trial more.
    limit = (2 + 7 + FINALS * 1.25 + 0.5) * 4 * HOURS_PER_EPOCH
    budget = {"money": 3 * limit, "price_per_gpu_hour": 3.0} if key == "money" else {"gpu_hours": limit}
    backend = Backend(with_budget(**budget), url_in(tmp_path), hashed_score).run()
    assert (count(backend, Phase.SEARCH), count(backend, Phase.FINAL)) == (7, FINALS)
    assert {result.outcome for result in backend.ended} == {Outcome.COMPLETE}
    assert backend.plan.budget_note.startswith(f"budget.{key} ")
    assert "search ended after 7 of 20 trials" in backend.plan.budget_note
    assert hours(backend) <= limit


def test_a_budget_of_trials_is_kept_exactly(tmp_path):
    backend = Backend(with_budget(trials=18), url_in(tmp_path), hashed_score).run()
    assert [count(backend, phase) for phase in Phase] == [2, 4, FINALS]
    assert "budget.trials 18 is reached: 6 used, 12 kept for later phases" in backend.plan.budget_note


def test_wall_time_counts_all_starts(tmp_path):
    now = [100.0]

    class Slow(Backend):
        """Each trial takes a minute of the clock."""

        def _run_trial(self, trial: Any) -> Any:
            now[0] += 60
            return super()._run_trial(trial)

    study = with_budget(wall_hours=0.5)
    backend = Slow(study, url_in(tmp_path), hashed_score)
    backend.plan.add_wall_seconds(15 * 60)
    backend.plan = Plan(study, url_in(tmp_path), clock=lambda: now[0])
    backend.run()
    assert "budget.wall_hours 0.5 is reached" in backend.plan.budget_note
    assert count(backend, Phase.SEARCH) == 13, "of thirty minutes half were gone, two went to baselines"


def test_too_little_for_the_finals_ends_them_in_whole_seeds(tmp_path):
    study = with_budget(gpu_hours=(2 + 6) * 4 * HOURS_PER_EPOCH)
    backend = Backend(study, url_in(tmp_path), hashed_score).run()
    assert [count(backend, phase) for phase in Phase] == [2, 0, 4]
    assert "search ended after 0 of 20" in backend.plan.budget_note


def test_dear_trials_are_suspended_and_go_on_when_extended(tmp_path):
    """What is kept for the finals is not touched by a trial that takes longer than those before it."""

    class Dear(Backend):
        def _run_trial(self, trial: Any) -> Any:
            self.seconds = 20 * SECONDS if trial.name == "search-0002" else SECONDS
            return super()._run_trial(trial)

    limit = (2 + 3 + FINALS * 1.25 + 0.5) * 4 * HOURS_PER_EPOCH
    backend = Dear(with_budget(gpu_hours=limit), url_in(tmp_path), hashed_score).run()
    suspended = next(result for result in backend.ended if result.trial.name == "search-0002")
    assert suspended.outcome is Outcome.PRUNED
    assert suspended.reason.startswith("budget.gpu_hours")
    extended = Dear(with_budget(gpu_hours=100.0), url_in(tmp_path), hashed_score, backend.trained).run()
    whole_folder = tmp_path / "whole"
    whole_folder.mkdir()
    whole = Dear(with_budget(gpu_hours=100.0), url_in(whole_folder), hashed_score).run()
    assert tables(extended) == tables(whole)
    assert extended.issued[0].name == "search-0002"


def test_a_trial_that_fails_when_it_was_to_be_suspended_has_ended(tmp_path):
    study = with_budget(gpu_hours=(2 + 3 + FINALS * 1.25) * 4 * HOURS_PER_EPOCH)
    plan = Backend(study, url_in(tmp_path), hashed_score).plan
    while (trial := plan.next()).phase is not Phase.SEARCH:
        plan.finish(trial.name, Outcome.COMPLETE, {"epoch": 4.0, "seconds": 4 * SECONDS, "select_accuracy": 50.0})
    metrics = {"epoch": 1.0, "seconds": 100 * SECONDS, "select_accuracy": 50.0}
    assert plan.report(trial.name, metrics).startswith("budget.gpu_hours")
    plan.finish(trial.name, Outcome.FAIL, metrics, "lost")
    again = Plan(with_budget(gpu_hours=100.0), url_in(tmp_path))
    assert not again.is_suspended(trial.name)
    assert again.next() != trial


def tables(backend: Backend) -> list[Any]:
    """Every trial without its name: that of a final trial tells when it was first run."""
    return sorted((r.trial.arm, r.trial.seed, r.outcome, sorted(r.metrics.items())) for r in backend.plan.results())


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("searches", [2, 5])
def test_stopped_extended_and_finished_has_the_tables_of_one_that_ran_through(tmp_path, sampler, searches):
    def study(limit: float | None) -> StudyConfig:
        return study_with(trials=14, sampler=sampler, budget={"gpu_hours": limit}, final={"top": 2, "seeds": 2})

    limit = (2 + searches + FINALS * 1.25) * 4 * HOURS_PER_EPOCH
    stopped = Backend(study(limit), url_in(tmp_path), hashed_score).run()
    assert stopped.plan.budget_note
    resumed = Backend(study(limit), url_in(tmp_path), hashed_score, stopped.trained)
    assert resumed.plan.is_done
    assert summary_of(resumed.plan.results()) == summary_of(stopped.plan.results())
    extended = Backend(study(None), url_in(tmp_path), hashed_score, stopped.trained).run()
    (whole_folder := tmp_path / "whole").mkdir()
    whole = Backend(study(None), url_in(whole_folder), hashed_score).run()
    assert tables(extended) == tables(whole)
    assert extended.plan.budget_note == ""


@pytest.mark.parametrize(
    "changes", [{"trials": 12}, {"final": {"top": 3, "seeds": 2}}, {"final": {"top": 2, "seeds": 4}}]
)
def test_a_finished_study_is_extended(tmp_path, changes):
    finished = Backend(study_with(), url_in(tmp_path), hashed_score).run()
    extended = Backend(study_with(**changes), url_in(tmp_path), hashed_score, finished.trained).run()
    (whole_folder := tmp_path / "whole").mkdir()
    whole = Backend(study_with(**changes), url_in(whole_folder), hashed_score).run()
    assert tables(extended) == tables(whole)
    again = {trial.name for trial in extended.issued} & {trial.name for trial in finished.issued}
    assert not again, "trained twice"


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.floats(0.2, 3.0),
    repeats=st.integers(1, 3),
    top=st.integers(1, 3),
    dearest=st.integers(1, 4),
    fails=st.integers(0, 5),
)
def test_a_budget_is_never_exceeded(tmp_path_factory, limit, repeats, top, dearest, fails):
    """By more than one trial may cost over its estimate: before the first there is none."""
    folder = tmp_path_factory.mktemp("budget")
    hours = limit * 100 * HOURS_PER_EPOCH
    study = study_with(
        trials=8, repeats=repeats, budget={"gpu_hours": hours}, final={"top": top, "seeds": 2}, pruner={"name": "none"}
    )

    class Varied(Backend):
        def _run_trial(self, trial: Any) -> Any:
            self.seconds = SECONDS * (1 + trial.seed % dearest)
            return super()._run_trial(trial)

    backend = Varied(study, url_in(folder), lambda t, e: None if t.seed % 7 < fails else hashed_score(t, e)).run()
    used = sum(result.metrics.get("gpu_hours", 0.0) for result in backend.plan.results())
    assert used <= hours + 4 * dearest * HOURS_PER_EPOCH
    names = [result.trial.name for result in backend.plan.results()]
    assert len(names) == len(set(names))
    assert all(result.outcome is not Outcome.RUNNING for result in backend.plan.results())
