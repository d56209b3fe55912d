"""What holds of every study whose trials run at once, end in any order, lose their driver and are extended."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.phases import NoTrial
from dabo_ray.planning.plan import Plan
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult
from tests.planning.fake_backend import SECONDS, hashed_score, study_with, summary_of, url_in

HOURS_OF_A_TRIAL = 4 * SECONDS / 3600
EXTENSIONS: list[dict[str, Any]] = [
    {"budget": {}},
    {"budget": {"trials": 40}},
    {"budget": {}, "trials": 9},
    {"budget": {}, "final": {"top": 2, "seeds": 3}},
]


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    """A small study whose budget ends it somewhere, or does not."""
    pruner = draw(st.sampled_from(["none", "median", "asha", "hyperband"]))
    budgets = [{}, {"trials": draw(st.integers(4, 30))}, {"gpu_hours": draw(st.integers(4, 40)) * HOURS_OF_A_TRIAL}]
    return {
        "seed": draw(st.integers(0, 99)),
        "trials": draw(st.integers(2, 7)),
        "repeats": draw(st.integers(1, 3)),
        "sampler": draw(st.sampled_from(["random", "tpe"])),
        "pruner": {"name": pruner} if pruner == "none" else {"name": pruner, "min_epochs": 1, "reduction_factor": 2},
        "final": {"top": draw(st.integers(1, 2)), "seeds": draw(st.integers(1, 2))},
        "budget": draw(st.sampled_from(budgets)),
    }


class Driver:
    """Starts trials, moves any of them on by an epoch, loses one now and then, and is sometimes gone itself.

    Args:
        folder: of the plan.
        at_once: trials that run at the same time.
        chance: decides what happens next.
    """

    def __init__(self, folder: Path, at_once: int, chance: Random) -> None:
        self.url = url_in(folder)
        self.at_once = at_once
        self.chance = chance
        self.trained: dict[str, int] = {}
        self.ended: dict[str, TrialResult] = {}
        self.begun: dict[str, Trial] = {}

    def run(self, study: StudyConfig) -> Plan:
        """To the end of the study as it is now."""
        plan, running = Plan(study, self.url), dict[str, Trial]()
        while True:
            if self.chance.random() < 0.03:
                plan, running = Plan(study, self.url), {}
            trial = plan.next() if len(running) < self.at_once else None
            if trial is NoTrial.DONE:
                assert not running
                return plan
            if isinstance(trial, Trial):
                self._begin(trial, running)
            elif running:
                self._move(plan, self.chance.choice(sorted(running)), running)
            else:
                raise AssertionError("it waits, and nothing runs")

    def _begin(self, trial: Trial, running: dict[str, Trial]) -> None:
        assert trial.name not in running and trial.name not in self.ended
        assert self.begun.setdefault(trial.name, trial) == trial
        running[trial.name] = trial

    def _move(self, plan: Plan, name: str, running: dict[str, Trial]) -> None:
        trial = running[name]
        epoch = self.trained[name] = self.trained.get(name, 0) + 1
        metrics = {"epoch": float(epoch), "seconds": SECONDS * epoch, "gpu_hours": SECONDS * epoch / 3600}
        key = "test_accuracy" if trial.phase is Phase.FINAL else "select_accuracy"
        metrics[key] = hashed_score(trial, epoch) or 0.0
        reason = plan.report(name, metrics)
        if self.chance.random() < 0.02:
            result = plan.finish(name, Outcome.FAIL, metrics, "lost")
        elif reason:
            result = plan.finish(name, Outcome.PRUNED, metrics, reason)
        elif epoch == trial.epochs:
            result = plan.finish(name, Outcome.COMPLETE, metrics)
        else:
            return
        del running[name]
        if not plan.is_suspended(name):
            self.ended[name] = result


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    first=changes(),
    at_once=st.integers(1, 4),
    extension=st.sampled_from(EXTENSIONS),
    chance=st.integers(0, 10**6).map(Random),
)
@pytest.mark.timeout(600)
def test_any_study_at_once(
    tmp_path_factory: pytest.TempPathFactory,
    first: dict[str, Any],
    at_once: int,
    extension: dict[str, Any],
    chance: Random,
):
    driver = Driver(tmp_path_factory.mktemp("at-once"), at_once, chance)
    check(study_with(**first), driver)
    check(study_with(**{**first, **extension}), driver)


def check(study: StudyConfig, driver: Driver) -> None:
    """Runs the study as it is now, and compares what the plan says with what happened."""
    plan = driver.run(study)
    results = plan.results()
    assert set(Counter(result.trial.name for result in results).values()) == {1}
    assert all(result.outcome is not Outcome.RUNNING for result in results)
    for result in results:
        # What the budget has suspended goes on when there is more of it.
        known = driver.ended.get(result.trial.name)
        assert result.outcome is (known.outcome if known else Outcome.PRUNED)
        assert known or study.budget.gpu_hours
    budget = study.budget
    assert budget.trials is None or len(driver.begun) <= budget.trials
    if budget.gpu_hours is not None:
        # Of the first ones, begun together, none knew what it would cost.
        limit = budget.gpu_hours + driver.at_once * HOURS_OF_A_TRIAL
        assert sum(result.metrics.get("gpu_hours", 0.0) for result in results) <= limit
    finals = [result.trial for result in results if result.trial.phase is Phase.FINAL]
    assert len({trial.seed for trial in finals}) <= study.final.seeds
    assert len({(trial.arm, trial.seed) for trial in finals}) == len(finals)
    again = Plan(study, driver.url)
    assert again.next() is NoTrial.DONE
    assert summary_of(again.results()) == summary_of(results)
