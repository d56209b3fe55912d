"""Which settings are tried and which are the best: every kind of space, sampler, objective and repeat."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest

from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.candidates import BEST_OBSERVED, LATEST_OBSERVED, Candidate, Candidates
from dabo_ray.planning.plan import Plan
from dabo_ray.planning.sampling import grid_of, propose
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult
from tests.planning.fake_backend import Backend, hashed_score, study_with, summary_of, url_in

CONDITIONAL = {
    "augmenter.name": {"choice": ["affine", "affine_matrix"]},
    "augmenter.centre": {"choice": ["identity", "free"], "when": {"augmenter.name": "affine_matrix"}},
    "bilevel.inner_steps": {"int": [1, 8], "log": True},
    "bilevel.truncation": {"int": [1, "bilevel.inner_steps"]},
}
SAMPLERS = ["tpe", "gp", "random", "grid"]


def searches(backend: Backend) -> list[TrialResult]:
    return [result for result in backend.ended if result.trial.phase is Phase.SEARCH]


def run(folder: Path, score: Any = hashed_score, **changes: Any) -> Backend:
    changes = {"pruner": {"name": "none"}, "baselines": ["none"], "final": {"top": 1, "seeds": 1}, **changes}
    return Backend(study_with(**changes), url_in(folder), score).run()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_conditions_and_bounds_hold(tmp_path, sampler):
    backend = run(tmp_path, space=CONDITIONAL, sampler=sampler, trials=14)
    drawn = [result.trial.settings for result in searches(backend)]
    assert len(drawn) == 14
    for settings in drawn:
        assert ("augmenter.centre" in settings) == (settings["augmenter.name"] == "affine_matrix")
        assert 1 <= settings["bilevel.truncation"] <= settings["bilevel.inner_steps"]
    if sampler != "grid":
        assert {settings["augmenter.name"] for settings in drawn} == {"affine", "affine_matrix"}


def test_a_condition_may_name_a_key_that_is_not_searched(tmp_path):
    space = {"augmenter.centre": {"choice": ["identity", "free"], "when": {"augmenter.name": ["affine_matrix"]}}}
    without = run(tmp_path, space=space, trials=2)
    assert all(not result.trial.settings for result in searches(without))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_goes_on_as_if_never_stopped(tmp_path, sampler):
    (tmp_path / "whole").mkdir()
    changes = {"space": CONDITIONAL, "sampler": sampler, "trials": 9}
    whole = run(tmp_path / "whole", **changes)
    study = whole.plan.study
    for _ in range(4):
        # Each driver runs some trials and is gone.
        backend = Backend(study, url_in(tmp_path), hashed_score)
        for _ in range(3):
            trial = backend.plan.next()
            assert isinstance(trial, Trial)
            backend._run_trial(trial)
    Backend(study, url_in(tmp_path), hashed_score).run()
    assert summary_of(Plan(study, url_in(tmp_path)).results()) == summary_of(whole.ended)


# Grids

GRID = {
    "augmenter.hidden": {"choice": [8, 32]},
    "bilevel.inner_steps": {"int": [1, 3]},
    "augmenter.lr": {"float": [0.01, 1.0], "log": True, "steps": 3},
}


def test_a_grid_tries_every_combination_once_and_ends(tmp_path):
    backend = run(tmp_path, space=GRID, sampler="grid", trials=100)
    drawn = [result.trial.settings for result in searches(backend)]
    rounded = {(s["augmenter.hidden"], s["bilevel.inner_steps"], round(s["augmenter.lr"], 9)) for s in drawn}
    assert rounded == {(h, m, lr) for h in (8, 32) for m in (1, 2, 3) for lr in (0.01, 0.1, 1.0)}
    assert len(drawn) == 18


def test_a_grid_of_conditions_has_no_combination_twice():
    combinations = grid_of(study_with(space=CONDITIONAL, sampler="grid"))
    # Triangle of inner_steps and truncation, for one affine and two affine_matrix.
    assert len(combinations) == 3 * sum(range(1, 9))
    assert len(set(map(repr, combinations))) == len(combinations)


# What is tried first


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_points_to_try_first_are_tried_once(tmp_path, sampler):
    first = [{"augmenter.hidden": 32, "bilevel.inner_steps": 3, "augmenter.lr": 0.5}, {"augmenter.hidden": 8}]
    study_changes = {"space": GRID, "sampler": sampler, "trials": 6, "enqueue": first}
    (tmp_path / "whole").mkdir()
    whole = run(tmp_path / "whole", **study_changes)
    study = whole.plan.study
    before = Backend(study, url_in(tmp_path), hashed_score)
    for _ in range(2):
        before._run_trial(before.plan.next())
    after = Backend(study, url_in(tmp_path), hashed_score).run()
    settings = [r.trial.settings for r in after.plan.results() if r.trial.phase is Phase.SEARCH]
    assert settings[0] == first[0]
    assert settings[1]["augmenter.hidden"] == 8 and settings[1].keys() == GRID.keys()
    assert [s for s in settings if s == first[0]] == [first[0]]
    assert summary_of(after.plan.results()) == summary_of(whole.ended)


# Several objectives, and constraints


class Costly(Backend):
    """A trial costs as many seconds an epoch as it takes inner steps."""

    def _run_trial(self, trial: Trial) -> TrialResult:
        self.seconds = float(trial.settings.get("bilevel.inner_steps", 1))
        return super()._run_trial(trial)


TWO = {"select_accuracy": "maximize", "gpu_hours": "minimize"}


def test_the_finals_are_of_the_front(tmp_path):
    space = {"bilevel.inner_steps": {"int": [1, 8]}, "augmenter.hidden": {"int": [1, 4]}}
    study = study_with(
        space=space, sampler="grid", trials=32, objective=TWO, pruner={"name": "none"}, final={"top": 3, "seeds": 1}
    )
    backend = Costly(study, url_in(tmp_path), hashed_score).run()
    points = {r.trial.name: (r.metrics["select_accuracy"], -r.metrics["gpu_hours"]) for r in searches(backend)}
    front = [
        name
        for name, point in points.items()
        if not any(o != point and o[0] >= point[0] and o[1] >= point[1] for o in points.values())
    ]
    expected = sorted(front, key=lambda name: -points[name][0])[:3]
    finals = [trial for trial in backend.issued if trial.arm.startswith("learned-")]
    assert [trial.origin for trial in finals] == expected


def test_two_objectives_are_searched_with_tpe(tmp_path):
    study = study_with(objective=TWO, sampler="tpe", trials=12, pruner={"name": "none"})
    assert len(searches(Costly(study, url_in(tmp_path), hashed_score).run())) == 12


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_what_breaks_a_constraint_is_not_chosen_and_is_avoided(tmp_path, sampler):
    limit = 3.5 * 4 / 3600
    space = {"bilevel.inner_steps": {"int": [1, 16]}}
    study = study_with(
        space=space, sampler=sampler, trials=20, constraints={"gpu_hours": limit}, pruner={"name": "none"}, seed=3
    )
    # The more steps the better, but for the constraint.
    backend = Costly(study, url_in(tmp_path), lambda t, e: 50.0 + t.settings.get("bilevel.inner_steps", 0)).run()
    steps = [result.trial.settings["bilevel.inner_steps"] for result in searches(backend)]
    chosen = [trial.settings["bilevel.inner_steps"] for trial in backend.issued if trial.arm == "learned-1"]
    assert set(chosen) == {3}
    assert mean(steps[-8:]) < mean(steps[:5])


# Repeats


def by_setting(trial: Trial, epoch: int) -> float:
    """The same for all seeds of a candidate but for a little."""
    return 50.0 + 5 * math.log(trial.settings.get("augmenter.lr", 1.0)) + trial.seed % 7 / 10


def test_a_setting_is_judged_by_the_mean_of_its_seeds(tmp_path):
    backend = run(tmp_path, by_setting, repeats=3, trials=4)
    results = searches(backend)
    assert len(results) == 12
    groups = [results[start : start + 3] for start in range(0, 12, 3)]
    for number, group in enumerate(groups):
        base = f"search-{number:04d}"
        assert [r.trial.name for r in group] == [base, f"{base}-repeat-1", f"{base}-repeat-2"]
        assert len({repr(r.trial.settings) for r in group}) == 1
        assert len({r.trial.seed for r in group}) == 3
    assert len({tuple(r.trial.seed for r in group) for group in groups}) == 1, "compared on the same seeds"
    best = max(groups, key=lambda group: mean(r.metrics["select_accuracy"] for r in group))
    assert {t.origin for t in backend.issued if t.arm == "learned-1"} == {best[0].trial.name}


def test_a_setting_that_fails_on_a_seed_is_not_tried_on_the_others(tmp_path):
    backend = run(tmp_path, lambda t, e: None if t.name == "search-0001-repeat-1" else 50.0, repeats=4, trials=3)
    names = [result.trial.name for result in searches(backend)]
    assert [name for name in names if name.startswith("search-0001")] == ["search-0001", "search-0001-repeat-1"]
    assert len(names) == 4 + 2 + 4
    assert backend.plan.planned(Phase.SEARCH) == 10


@pytest.mark.parametrize("name", ["asha", "hyperband", "median"])
def test_a_setting_that_holds_out_on_its_first_seed_has_the_others_whole(tmp_path, name):
    pruner = {"name": name, "min_epochs": 1}
    backend = run(tmp_path, by_setting, repeats=3, trials=12, pruner=pruner, classifier={"epochs": 8})
    groups = defaultdict(list)
    for result in searches(backend):
        groups[result.trial.name[:11]].append(result.outcome)
    pruned = [outcomes for outcomes in groups.values() if Outcome.PRUNED in outcomes]
    whole = [outcomes for outcomes in groups.values() if Outcome.PRUNED not in outcomes]
    assert len(pruned) >= 2 and all(outcomes == [Outcome.PRUNED] for outcomes in pruned)
    assert len(whole) >= 2 and all(outcomes == [Outcome.COMPLETE] * 3 for outcomes in whole)


def test_wilcoxon_spares_a_worse_setting_its_last_seeds(tmp_path):
    def score(trial: Trial, epoch: int) -> float:
        number = int(trial.name.split("-")[1]) if trial.phase is Phase.SEARCH else 0
        return 90.0 - 10 * number + trial.seed % 5 / 10

    backend = run(tmp_path, score, repeats=6, trials=3, pruner={"name": "wilcoxon"})
    last = {r.trial.settings["augmenter.lr"]: r for r in searches(backend)}
    counts = [sum(r.trial.name.startswith(f"search-{n:04d}") for r in searches(backend)) for n in range(3)]
    assert counts == [6, 4, 4], "four pairs that agree are p = 1/16"
    stopped = [r for r in last.values() if r.outcome is Outcome.PRUNED]
    assert [r.reason for r in stopped] == ["wilcoxon: worse than search-0000 on 4 seeds"] * 2
    assert all(r.metrics["epoch"] == r.trial.epochs for r in stopped)


def test_hyperband_prunes(tmp_path):
    pruner = {"name": "hyperband", "min_epochs": 1, "reduction_factor": 2}
    backend = run(tmp_path, trials=20, pruner=pruner, classifier={"epochs": 8})
    outcomes = {result.outcome for result in searches(backend)}
    assert outcomes == {Outcome.COMPLETE, Outcome.PRUNED}


# Parallel trials


def test_trials_that_run_at_once_do_not_crowd():
    """With what runs in sight, the next settings keep apart; without, they draw near to the best one."""
    study = study_with(space={"augmenter.lr": {"float": [0.0, 1.0]}}, sampler="tpe", seed=5)
    tried: list[Candidate] = []
    for number in range(12):
        tried.append(ended(propose(study, number, tried, {}), lambda lr: 90 - 100 * (lr - 0.5) ** 2))
    alone = [propose(study, number, tried, {}).values["augmenter.lr"] for number in range(12, 20)]
    running = list(tried)
    for number in range(12, 20):
        running.append(propose(study, number, running, {}))
    together = [candidate.values["augmenter.lr"] for candidate in running[12:]]
    assert np.ptp(together) > np.ptp(alone)
    assert len(set(together)) == 8


def ended(candidate: Candidate, accuracy: Any) -> Candidate:
    trial = Trial(name="t", phase=Phase.SEARCH, arm="", method="learned", seed=0, epochs=4)
    metrics = {"epoch": 4.0, "select_accuracy": accuracy(candidate.values["augmenter.lr"])}
    candidate.add(TrialResult(trial=trial, outcome=Outcome.COMPLETE, metrics=metrics), {})
    return candidate


def test_of_many_settings_the_sampler_sees_the_best_and_the_latest():
    study: StudyConfig = study_with(space={"augmenter.lr": {"float": [0.0, 1.0]}}, sampler="tpe")
    tried = [
        ended(Candidate(n, {"augmenter.lr": n / 1000}, propose(study, 0, [], {}).distributions), lambda lr: -lr)
        for n in range(1000)
    ]
    numbers = [candidate.number for candidate in Candidates(tried).observed(study)]
    assert numbers == [*range(BEST_OBSERVED), *range(1000 - LATEST_OBSERVED, 1000)]


def test_the_best_are_found_whenever_settings_end():
    """Beside a look at all of them; some end long after later ones."""
    study, rng = study_with(), np.random.default_rng(0)
    tried, running = Candidates(), list[Candidate]()
    for number in range(400):
        tried.append(Candidate(number, {"augmenter.lr": float(rng.integers(50))}, {}))
        running.append(tried[-1])
        while running and rng.random() < 0.6:
            ended(running.pop(rng.integers(len(running))), lambda lr: lr)
        latest = tried[-LATEST_OBSERVED:]
        judged = [candidate for candidate in tried[:-LATEST_OBSERVED] if candidate.score is not None]
        best = sorted(judged, key=lambda candidate: (-(candidate.score or 0), candidate.number))[:BEST_OBSERVED]
        assert tried.observed(study) == [*sorted(best, key=lambda candidate: candidate.number), *latest]


@pytest.mark.parametrize("score", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_a_study_is_judged_by_the_score_of_its_objective(tmp_path: Path, score: str):
    """Search, baselines and the final phase go by it: with another name of the score all is as it was."""
    objective = {f"select_{score}": "maximize"}
    backend = Backend(study_with(objective=objective), url_in(tmp_path), hashed_score).run()
    assert {result.trial.score for result in backend.ended} == {score}
    assert all(r.outcome is not Outcome.FAIL for r in backend.ended)
    (tmp_path / "usual").mkdir()
    usual = Backend(study_with(), url_in(tmp_path / "usual"), hashed_score).run()
    assert [(r.trial.name, r.trial.settings, r.outcome) for r in backend.ended] == [
        (r.trial.name, r.trial.settings, r.outcome) for r in usual.ended
    ]
