"""Ten thousand trials through the plan, with pruning, failures and repeats."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from dabo_ray.planning.phases import NoTrial
from dabo_ray.planning.plan import Plan
from dabo_ray.trials import Outcome, Phase, Trial
from tests.planning.fake_backend import Backend, hashed_score, study_with, summary_of, url_in


def score(trial: Trial, epoch: int) -> float | None:
    """A twentieth of the search trials fails on the way."""
    return None if trial.phase is Phase.SEARCH and trial.seed % 20 == epoch else hashed_score(trial, epoch)


@pytest.mark.parametrize(
    ("settings", "sampler"),
    [
        pytest.param(100, "tpe", id="100"),
        pytest.param(1000, "random", id="1,000", marks=pytest.mark.slow),
        pytest.param(10_000, "tpe", id="10,000", marks=pytest.mark.soak),
    ],
)
@pytest.mark.timeout(5400)
def test_what_holds_of_every_study(tmp_path, settings, sampler):
    study = study_with(
        trials=settings, sampler=sampler, final={"top": 3, "seeds": 4, "equal_cost": ["flip"]}, classifier={"epochs": 4}
    )
    backend = Backend(study, url_in(tmp_path), score).run()
    results = backend.plan.results()

    assert len(backend.issued) == len(backend.ended) == len(results)
    names = Counter(result.trial.name for result in results)
    assert set(names.values()) == {1}
    assert all(result.outcome in (Outcome.COMPLETE, Outcome.PRUNED, Outcome.FAIL) for result in results)
    assert all(result.reason for result in results if result.outcome is not Outcome.COMPLETE)
    counts = Counter(result.trial.phase for result in results)
    assert counts == {Phase.BASELINES: 2, Phase.SEARCH: settings, Phase.FINAL: (2 + 1 + 3 + 3) * 4}
    outcomes = Counter(result.outcome for result in results if result.trial.phase is Phase.SEARCH)
    assert all(outcomes[outcome] > settings / 50 for outcome in (Outcome.COMPLETE, Outcome.PRUNED, Outcome.FAIL))

    seeds: defaultdict[Phase, set[int]] = defaultdict(set)
    for result in results:
        seeds[result.trial.phase].add(result.trial.seed)
    assert {phase: len(of_phase) for phase, of_phase in seeds.items()} == {
        Phase.BASELINES: 2,
        Phase.SEARCH: settings,
        Phase.FINAL: 4,
    }
    assert len(set.union(*seeds.values())) == 2 + settings + 4

    again = Plan(study, url_in(tmp_path))
    assert again.next() is NoTrial.DONE
    assert summary_of(again.results()) == summary_of(results)


@pytest.mark.slow
def test_repeats_and_a_budget_of_trials_at_scale(tmp_path):
    study = study_with(
        trials=400,
        repeats=3,
        sampler="random",
        budget={"trials": 500},
        final={"top": 2, "seeds": 5},
    )
    backend = Backend(study, url_in(tmp_path), score).run()
    results = backend.plan.results()
    assert len(results) <= 500
    assert sum(result.trial.phase is Phase.FINAL for result in results) == (2 + 2 + 2) * 5
    by_setting: defaultdict[str, list[Outcome]] = defaultdict(list)
    for result in results:
        if result.trial.phase is Phase.SEARCH:
            by_setting[result.trial.name[:11]].append(result.outcome)
    for outcomes in by_setting.values():
        assert len(outcomes) <= 3
        assert all(outcome is Outcome.COMPLETE for outcome in outcomes[:-1]), "nothing follows what was given up"
