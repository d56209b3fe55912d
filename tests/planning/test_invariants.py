"""What holds of every study, whatever its sampler, pruner, repeats and failures, and wherever its driver is killed."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.phases import NoTrial
from dabo_ray.planning.plan import Plan
from dabo_ray.seeds import derive
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult
from tests.planning.fake_backend import SECONDS, Backend, Killed, study_with, summary_of, url_in

TUNED = {"name": "affine", "tune": {"degrees": {"choice": [5.0, 15.0, 45.0]}}}
ACCURACY = {"select_accuracy": "maximize"}
WHOLE = 4 * SECONDS
"""Seconds of a whole trial with one inner step."""
SPACE = {"bilevel.inner_steps": {"int": [1, 4]}, "augmenter.hidden": {"choice": [8, 32]}}


@st.composite
def studies(draw: st.DrawFn) -> StudyConfig:
    objective = draw(st.sampled_from([ACCURACY, ACCURACY, ACCURACY | {"gpu_hours": "minimize"}]))
    pruners = ["none", "median", "asha", "hyperband", "wilcoxon"]
    pruner = draw(st.sampled_from(pruners if objective == ACCURACY else ["none"]))
    trials = draw(st.integers(1, 7))
    changes: dict[str, Any] = {
        "seed": draw(st.integers(0, 99)),
        "space": SPACE,
        "trials": trials,
        "sampler": draw(st.sampled_from(["random", "tpe", "grid"])),
        "pruner": {"name": pruner} if pruner in ("none", "wilcoxon") else {"name": pruner, "min_epochs": 1},
        "repeats": 5 if pruner == "wilcoxon" else draw(st.integers(1, 3)),
        "enqueue": draw(st.sampled_from([[], [{"augmenter.hidden": 32}]])),
        "baselines": draw(st.sampled_from([["none"], ["none", "flip"], ["none", TUNED]])),
        "final": {"top": draw(st.integers(1, min(3, trials))), "seeds": draw(st.integers(1, 3))},
        "budget": draw(st.sampled_from([{}, {"trials": 25}])),
        "objective": objective,
        # None, one that never binds, and one that only cheap settings meet.
        "constraints": draw(st.sampled_from([{}, {"seconds": 1e9}, {"seconds": 2 * WHOLE}])),
    }
    return study_with(**changes)


class Priced(Backend):
    """Settings take the longer, the more inner steps they have."""

    def _run_trial(self, trial: Trial) -> TrialResult:
        self.seconds = SECONDS * trial.settings.get("bilevel.inner_steps", 1)
        return super()._run_trial(trial)


def score_with(share: int) -> Any:
    """An accuracy by setting and seed; one of so many epochs fails, none for 0."""

    def score(trial: Trial, epoch: int) -> float | None:
        if share and derive(trial.seed, trial.name, epoch) % share == 0:
            return None
        by_setting = derive(0, repr(sorted(trial.settings.items()))) % 20
        return 40.0 + by_setting + epoch + derive(trial.seed, "noise", epoch) % 100 / 50

    return score


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(study=studies(), fails=st.sampled_from([0, 40, 12]), kills=st.lists(st.integers(0, 30), max_size=4))
@pytest.mark.timeout(600)
def test_any_study(tmp_path_factory: pytest.TempPathFactory, study: StudyConfig, fails: int, kills: list[int]):
    score = score_with(fails)
    whole = Priced(study, url_in(tmp_path_factory.mktemp("whole")), score).run()
    results = whole.plan.results()
    check(study, results, whole)

    url, trained = url_in(tmp_path_factory.mktemp("killed")), dict[str, int]()
    for calls in kills:
        try:
            Priced(study, url, score, trained, calls).run()
        except Killed:
            continue
    Priced(study, url, score, trained).run()
    again = Plan(study, url)
    assert again.next() is NoTrial.DONE
    assert summary_of(again.results()) == summary_of(results)


def check(study: StudyConfig, results: list[TrialResult], backend: Backend) -> None:
    """Each trial ends once and says why it failed; the budget holds; the finals are the best, on fresh seeds."""
    issued = Counter(trial.name for trial in backend.issued)
    assert set(issued.values()) == {1}
    assert Counter(result.trial.name for result in results) == issued
    assert all(result.outcome is not Outcome.RUNNING for result in results)
    assert all(result.reason for result in results if result.outcome is not Outcome.COMPLETE)
    assert study.budget.trials is None or len(results) <= study.budget.trials

    by_phase: defaultdict[Phase, list[TrialResult]] = defaultdict(list)
    for result in results:
        by_phase[result.trial.phase].append(result)
    seeds = {phase: {result.trial.seed for result in of_phase} for phase, of_phase in by_phase.items()}
    assert len(set.union(*seeds.values())) == sum(map(len, seeds.values())), "a seed of two phases"
    assert all(r.outcome is not Outcome.PRUNED for phase in (Phase.BASELINES, Phase.FINAL) for r in by_phase[phase])
    check_search(study, by_phase[Phase.SEARCH])
    if not backend.plan.failure_reason and not backend.plan.budget_note:
        check_finals(study, by_phase)


def check_search(study: StudyConfig, results: list[TrialResult]) -> None:
    groups: defaultdict[str, list[Outcome]] = defaultdict(list)
    for result in results:
        groups[result.trial.name[: len("search-0000")]].append(result.outcome)
    assert len(groups) <= study.search.trials
    for outcomes in groups.values():
        assert len(outcomes) <= study.search.repeats
        assert all(outcome is Outcome.COMPLETE for outcome in outcomes[:-1]), "nothing follows what was given up"


def check_finals(study: StudyConfig, by_phase: dict[Phase, list[TrialResult]]) -> None:
    means: dict[str, float] = {}
    hours: dict[str, float] = {}
    limit = study.search.constraints.get("seconds", math.inf)
    for name in {result.trial.name[: len("search-0000")] for result in by_phase[Phase.SEARCH]}:
        trials = [result for result in by_phase[Phase.SEARCH] if result.trial.name.startswith(name)]
        if len(trials) == study.search.repeats and all(r.outcome is Outcome.COMPLETE for r in trials):
            seconds = sum(r.metrics["seconds"] for r in trials) / len(trials)
            if seconds <= limit:
                means[name] = sum(r.metrics["select_accuracy"] for r in trials) / len(trials)
                hours[name] = seconds / 3600
    if "gpu_hours" in study.search.objective:
        beaten = {
            name
            for name in means
            for other in means
            if means[other] >= means[name]
            and hours[other] <= hours[name]
            and (means[other], hours[other]) != (means[name], hours[name])
        }
        means = {name: mean for name, mean in means.items() if name not in beaten}
    best = sorted(means, key=lambda name: (-means[name], name))[: study.final.top]
    arms: defaultdict[str, list[TrialResult]] = defaultdict(list)
    for result in by_phase[Phase.FINAL]:
        arms[result.trial.arm].append(result)
    learned = [name for name in arms if name.startswith("learned-")]
    assert [arms[name][0].trial.origin for name in sorted(learned)] == best
    for name in learned:
        complete = sum(result.outcome is Outcome.COMPLETE for result in arms[name])
        assert len(arms[name.replace("learned", "frozen")]) == complete
    baselines = {r.trial.arm for r in by_phase[Phase.BASELINES] if r.outcome is Outcome.COMPLETE}
    assert {name for name in arms if not name.startswith(("learned-", "frozen-"))} == baselines
    for name in (*baselines, *learned):
        assert len(arms[name]) == study.final.seeds
