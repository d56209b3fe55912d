"""The plan under a backend of a few lines that trains nothing and can be killed between any two calls."""

from __future__ import annotations

import math
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dabo_ray.config.addresses import database_url
from dabo_ray.config.key_paths import to_dict
from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.phases import NoTrial
from dabo_ray.planning.plan import Plan, read_results
from dabo_ray.trials import Outcome, Phase, Trial
from tests.planning.fake_backend import (
    DIVERGED,
    Backend,
    Killed,
    Score,
    T,
    hashed_score,
    study_with,
    summary_of,
    url_in,
)


class Snapshots(Backend):
    """Keeps the plan's database and the epochs trained as they were before each call: what a kill would leave."""

    def __init__(self, study: StudyConfig, folder: Path, score: Score) -> None:
        super().__init__(study, url_in(folder), score)
        self.folder = folder
        self.snapshots: list[tuple[Path, dict[str, int], list[Trial]]] = []

    def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        copy = self.folder / f"{self.calls}.db"
        shutil.copy(self.folder / "plan.db", copy)
        self.snapshots.append((copy, dict(self.trained), list(self.issued)))
        return super()._call(function, *arguments)


def run_with_kills(study: StudyConfig, url: str, score: Score, kills: list[int]) -> list[list[Trial]]:
    """Runs a study whose backend is killed after so many calls, then so many more; the trials issued by each."""
    trained: dict[str, int] = {}
    issued = []
    for calls in [*kills, math.inf]:
        backend = Backend(study, url, score, trained, calls)
        issued.append(backend.issued)
        try:
            backend.run()
        except Killed:
            continue
        break
    return issued


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Backend:
    """The study run to its end once."""
    return Backend(study_with(), url_in(tmp_path_factory.mktemp("whole")), hashed_score).run()


# A whole study


def test_phases_come_in_order(uninterrupted):
    phases = [trial.phase for trial in uninterrupted.issued]
    assert phases == [Phase.BASELINES] * 2 + [Phase.SEARCH] * 6 + [Phase.FINAL] * 12


def test_names_are_unique_and_folders(uninterrupted):
    names = [trial.name for trial in uninterrupted.issued]
    assert len(set(names)) == len(names)
    assert all(name == Path(name).name for name in names)


def test_final_arms_are_paired_by_seed(uninterrupted):
    finals = [trial for trial in uninterrupted.issued if trial.phase is Phase.FINAL]
    seeds = {arm: [t.seed for t in finals if t.arm == arm] for arm in ("none", "flip", "learned-1", "learned-2")}
    assert len({tuple(of_arm) for of_arm in seeds.values()}) == 1
    assert len(set(seeds["none"])) == 2


def test_no_seed_is_used_in_two_phases(uninterrupted):
    by_phase = {phase: {t.seed for t in uninterrupted.issued if t.phase is phase} for phase in Phase}
    assert len(set.union(*by_phase.values())) == sum(len(seeds) for seeds in by_phase.values()) == 2 + 6 + 2


def test_finals_repeat_the_best_settings(uninterrupted):
    complete = [r for r in uninterrupted.ended if r.trial.phase is Phase.SEARCH and r.outcome is Outcome.COMPLETE]
    best = sorted(complete, key=lambda result: -result.metrics["select_accuracy"])[:2]
    for rank, result in enumerate(best, 1):
        repeats = [trial for trial in uninterrupted.issued if trial.arm == f"learned-{rank}"]
        assert {trial.origin for trial in repeats} == {result.trial.name}
        assert all(trial.settings == result.trial.settings for trial in repeats)


def test_optuna_has_every_trial_with_its_outcome(uninterrupted):
    storage = optuna.storages.RDBStorage(uninterrupted.plan._store._storage.url)
    recorded = {
        phase: optuna.load_study(study_name=f"planned/{phase}", storage=storage).get_trials(deepcopy=False)
        for phase in Phase
    }
    for result in uninterrupted.ended:
        phase, peers = result.trial.phase, [t for t in uninterrupted.issued if t.phase is result.trial.phase]
        frozen = recorded[phase][peers.index(result.trial)]
        assert frozen.state.name == result.outcome
        assert frozen.user_attrs["metrics"] == result.metrics
        if phase is Phase.FINAL:
            assert frozen.value == result.metrics["test_accuracy"]
            continue
        last = int(result.metrics["epoch"])
        expected = {epoch: hashed_score(result.trial, epoch) for epoch in range(1, last + 1)}
        assert frozen.intermediate_values == expected
        assert frozen.value == expected[last]
    assert {phase: len(trials) for phase, trials in recorded.items()} == {"baselines": 2, "search": 6, "final": 12}
    storage.remove_session()


def test_settings_of_a_search_differ(uninterrupted):
    settings = [repr(t.settings) for t in uninterrupted.issued if t.phase is Phase.SEARCH]
    assert len(set(settings)) == 6


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_same_seed_same_plan(tmp_path, sampler):
    study = study_with(sampler=sampler, trials=9)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    runs = [Backend(study, url_in(tmp_path / name), hashed_score).run() for name in ("a", "b")]
    assert summary_of(runs[0].ended) == summary_of(runs[1].ended)
    other = Backend(study_with(sampler=sampler, trials=9, seed=1), url_in(tmp_path), hashed_score).run()
    assert {t.seed for t in other.issued}.isdisjoint(t.seed for t in runs[0].issued)


def test_without_finalists_there_is_no_search(tmp_path):
    backend = Backend(study_with(final={"top": 0, "seeds": 1}), url_in(tmp_path), hashed_score).run()
    assert Counter(trial.phase for trial in backend.issued) == {Phase.BASELINES: 2, Phase.FINAL: 2}


# Concurrency


def test_finals_wait_for_the_last_search(tmp_path):
    plan = Plan(study_with(trials=2, pruner={"name": "none"}), url_in(tmp_path))
    trials = [plan.next() for _ in range(4)]
    assert plan.next() is NoTrial.WAIT
    for trial in trials:
        assert isinstance(trial, Trial)
        plan.finish(trial.name, Outcome.COMPLETE, {"epoch": 4, "select_accuracy": 90.0})
    final = plan.next()
    assert isinstance(final, Trial)
    assert final.phase is Phase.FINAL


def test_running_trials_are_among_the_results(tmp_path):
    plan = Plan(study_with(), url_in(tmp_path))
    trial = plan.next()
    assert [(r.trial, r.outcome) for r in plan.results()] == [(trial, Outcome.RUNNING)]


# The final phase


def test_a_frozen_trial_follows_the_one_it_learns_from(uninterrupted):
    names = [trial.name for trial in uninterrupted.issued]
    frozen = [trial for trial in uninterrupted.issued if trial.method == "frozen"]
    assert len(frozen) == 4
    for trial in frozen:
        online = uninterrupted.issued[names.index(trial.origin)]
        assert names.index(online.name) < names.index(trial.name)
        assert (online.method, online.settings, online.seed) == ("learned", trial.settings, trial.seed)
        assert trial.name == online.name.replace("learned", "frozen")


def final_phase_of(study: StudyConfig, folder: Path) -> tuple[Plan, list[Trial]]:
    """A plan whose searches have ended, and all final trials that it issues at once."""
    plan, trials = Plan(study, url_in(folder)), []
    while isinstance(trial := plan.next(), Trial):
        if trial.phase is Phase.FINAL:
            trials.append(trial)
        else:
            seconds = 3.0 if trial.method == "learned" else 1.0
            plan.finish(trial.name, Outcome.COMPLETE, {"epoch": 4, "select_accuracy": 90.0, "seconds": seconds})
    assert trial is NoTrial.WAIT
    return plan, trials


def test_a_frozen_trial_waits_for_its_own_online_trial_alone(tmp_path):
    plan, trials = final_phase_of(study_with(), tmp_path)
    assert sorted({trial.arm for trial in trials}) == ["flip", "learned-1", "learned-2", "none"]
    plan.finish("final-learned-2-seed-1", Outcome.COMPLETE, {"test_accuracy": 90.0})
    frozen = plan.next()
    assert isinstance(frozen, Trial)
    assert frozen.name == "final-frozen-2-seed-1"
    assert plan.next() is NoTrial.WAIT


def test_what_failed_to_learn_is_not_frozen(tmp_path):
    plan, trials = final_phase_of(study_with(), tmp_path)
    assert plan.planned(Phase.FINAL) == 12
    for trial in trials:
        outcome = Outcome.FAIL if trial.name == "final-learned-1-seed-0" else Outcome.COMPLETE
        plan.finish(trial.name, outcome, {"test_accuracy": 90.0})
    assert plan.planned(Phase.FINAL) == 11
    frozen = [plan.next() for _ in range(3)]
    assert "final-frozen-1-seed-0" not in {trial.name for trial in frozen if isinstance(trial, Trial)}
    for trial in frozen:
        assert isinstance(trial, Trial)
        plan.finish(trial.name, Outcome.COMPLETE, {"test_accuracy": 90.0})
    assert plan.next() is NoTrial.DONE


def test_without_frozen_arms(tmp_path):
    _, trials = final_phase_of(study_with(final={"top": 1, "seeds": 1, "frozen": False}), tmp_path)
    assert [trial.arm for trial in trials] == ["none", "flip", "learned-1"]


def test_a_baseline_trains_as_long_as_the_learned_arm_costs(tmp_path):
    _, trials = final_phase_of(study_with(final={"top": 1, "seeds": 1, "equal_cost": ["flip"]}), tmp_path)
    by_arm = {trial.arm: trial for trial in trials}
    assert (by_arm["flip"].epochs, by_arm["flip-equal-cost"].epochs) == (4, 12)
    assert by_arm["flip-equal-cost"].method == "flip"
    assert by_arm["flip-equal-cost"].seed == by_arm["flip"].seed


# Pruning


PRUNERS = [{"name": "asha", "min_epochs": 1, "reduction_factor": 2}, {"name": "median", "min_epochs": 1}]


@pytest.mark.parametrize("pruner", PRUNERS, ids=["asha", "median"])
def test_only_searches_are_pruned_and_the_pruned_are_not_chosen(tmp_path, pruner):
    def worse_and_worse(trial: Trial, epoch: int) -> float:
        rank = int(trial.name.split("-")[1]) if trial.phase is Phase.SEARCH else 50
        return 90.0 - rank

    backend = Backend(study_with(pruner=pruner, trials=8), url_in(tmp_path), worse_and_worse).run()
    outcomes = {result.trial.name: result.outcome for result in backend.ended}
    pruned = {name for name, outcome in outcomes.items() if outcome is Outcome.PRUNED}
    assert pruned
    assert all(name.startswith("search-") for name in pruned)
    assert pruned.isdisjoint({trial.origin for trial in backend.issued})


def test_the_last_epoch_is_never_pruned(tmp_path):
    plan = Plan(study_with(pruner={"name": "median", "min_epochs": 1}, baselines=["none"], trials=5), url_in(tmp_path))
    stops = []
    while isinstance(trial := plan.next(), Trial) and trial.phase is not Phase.FINAL:
        score = 100.0 - 10 * len(stops)
        stops.append(plan.report(trial.name, {"epoch": 4, "select_accuracy": score}))
        plan.finish(trial.name, Outcome.COMPLETE, {"epoch": 4, "select_accuracy": score})
    assert stops == [""] * 6


# Failures


def failing(*names: str) -> Score:
    """A score that is missing for trials whose name begins with one of these."""
    return lambda trial, epoch: None if trial.name.startswith(names) else hashed_score(trial, epoch)


def test_a_failed_baseline_has_no_finals(tmp_path):
    backend = Backend(study_with(), url_in(tmp_path), failing("baseline-flip")).run()
    arms = {trial.arm for trial in backend.issued if trial.phase is Phase.FINAL}
    assert arms == {"none", "learned-1", "learned-2", "frozen-1", "frozen-2"}
    (failed,) = (result for result in backend.plan.results() if result.outcome is Outcome.FAIL)
    assert (failed.trial.name, failed.reason) == ("baseline-flip", DIVERGED)


def test_when_all_searches_fail_the_baselines_are_compared(tmp_path):
    backend = Backend(study_with(), url_in(tmp_path), failing("search")).run()
    assert {trial.arm for trial in backend.issued if trial.phase is Phase.FINAL} == {"none", "flip"}
    assert backend.plan.failure_reason == ""


def test_with_fewer_complete_searches_than_finalists(tmp_path):
    backend = Backend(
        study_with(pruner={"name": "none"}), url_in(tmp_path), failing(*(f"search-000{n}" for n in range(5)))
    ).run()
    finals = [trial for trial in backend.issued if trial.phase is Phase.FINAL]
    assert {trial.arm for trial in finals} == {"none", "flip", "learned-1", "frozen-1"}
    assert {trial.origin for trial in finals if trial.method == "learned"} == {"search-0005"}


def test_three_failures_and_nothing_else_end_the_study(tmp_path):
    backend = Backend(study_with(), url_in(tmp_path), failing("")).run()
    assert len(backend.issued) == 3
    assert backend.plan.failure_reason == DIVERGED


def test_a_study_of_two_trials_that_both_fail_is_given_up(tmp_path):
    backend = Backend(
        study_with(baselines=["none"], trials=1, final={"top": 1, "seeds": 2}), url_in(tmp_path), failing("")
    ).run()
    assert len(backend.issued) == 2
    assert backend.plan.failure_reason == DIVERGED


@pytest.mark.slow
def test_a_study_stays_given_up_when_hundreds_of_running_trials_fail(tmp_path):
    plan = Plan(study_with(trials=110), url_in(tmp_path))
    trials = [plan.next() for _ in range(110)]
    for trial in trials:
        assert isinstance(trial, Trial)
        plan.finish(trial.name, Outcome.FAIL, {}, DIVERGED)
    assert plan.next() is NoTrial.DONE
    assert plan.failure_reason == DIVERGED


def test_one_success_keeps_the_study_going(tmp_path):
    backend = Backend(study_with(), url_in(tmp_path), failing("baseline-flip", "search-0000", "search-0001")).run()
    assert backend.plan.failure_reason == ""
    assert Counter(trial.phase for trial in backend.issued)[Phase.SEARCH] == 6


def test_a_given_up_study_waits_for_what_runs(tmp_path):
    plan = Plan(study_with(), url_in(tmp_path))
    trials = [plan.next() for _ in range(4)]
    for trial in trials[:3]:
        assert isinstance(trial, Trial)
        plan.finish(trial.name, Outcome.FAIL, {}, DIVERGED)
    assert plan.next() is NoTrial.WAIT
    assert isinstance(trials[3], Trial)
    plan.finish(trials[3].name, Outcome.COMPLETE, {"epoch": 4, "select_accuracy": 90.0})
    assert isinstance(plan.next(), Trial)  # the fault lay in the trials after all


# Numbers that are none


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_never_reach_optuna(tmp_path, number):
    plan = Plan(study_with(), url_in(tmp_path))
    trial = plan.next()
    assert isinstance(trial, Trial)
    assert not plan.report(trial.name, {"epoch": 1, "select_accuracy": number})
    result = plan.finish(trial.name, Outcome.COMPLETE, {"epoch": 1, "select_accuracy": number, "outer_loss": number})
    assert result.outcome is Outcome.FAIL
    assert "select_accuracy" in result.reason
    optuna_study = optuna.load_study(study_name="planned/baselines", storage=url_in(tmp_path))
    (frozen,) = optuna_study.get_trials()
    assert (frozen.state.name, frozen.value, frozen.intermediate_values) == ("FAIL", None, {})
    assert frozen.user_attrs["metrics"] == {"epoch": 1}
    with sqlite3.connect(tmp_path / "plan.db") as database:
        assert not [line for line in database.iterdump() if "NaN" in line or "Infinity" in line]


# Interruptions


@pytest.mark.parametrize(
    "pruner", [PRUNERS[0], pytest.param(PRUNERS[1], marks=pytest.mark.slow)], ids=["asha", "median"]
)
def test_resumed_at_every_point_ends_the_same(tmp_path, pruner):
    study = study_with(
        pruner=pruner, trials=5, baselines=["none"], final={"top": 1, "seeds": 1}, classifier={"epochs": 3}
    )
    whole = Snapshots(study, tmp_path, hashed_score)
    whole.run()
    assert Outcome.PRUNED in {result.outcome for result in whole.ended}
    for database, trained, issued in whole.snapshots:
        resumed = Backend(study, f"sqlite:///{database}", hashed_score, trained).run()
        assert summary_of(resumed.plan.results()) == summary_of(whole.ended), f"killed before call {database.stem}"
        again = Counter(trial.name for trial in issued + resumed.issued)
        assert sorted(again) == sorted(trial.name for trial in whole.issued)
        assert sum(again.values()) - len(again) <= 1, "only the running trial is issued again"


@pytest.mark.parametrize("calls", [7, 20, 33])
def test_a_tpe_search_that_is_killed_again_and_again(tmp_path, calls):
    study = study_with(sampler="tpe", trials=8)
    issued = run_with_kills(study, url_in(tmp_path), hashed_score, [calls] * 200)
    results = Plan(study, url_in(tmp_path)).results()
    assert len({result.trial.name for result in results}) == len(results)
    assert Counter(r.trial.phase for r in results) == {Phase.BASELINES: 2, Phase.SEARCH: 8, Phase.FINAL: 12}
    settings = [repr(r.trial.settings) for r in results if r.trial.phase is Phase.SEARCH]
    assert len(set(settings)) == 8, "a sampler that starts anew repeats itself"
    by_name = {trial.name: trial for of_backend in issued for trial in of_backend}
    assert all(by_name[result.trial.name] == result.trial for result in results)


def test_unfinished_trials_come_first_and_unchanged(tmp_path):
    study = study_with()
    before = Plan(study, url_in(tmp_path))
    trials = [before.next() for _ in range(5)]
    assert isinstance(trials[1], Trial)
    before.finish(trials[1].name, Outcome.COMPLETE, {"epoch": 4, "select_accuracy": 90.0})
    after = Plan(study, url_in(tmp_path))
    assert [after.next() for _ in range(4)] == [trials[0], *trials[2:]]
    fresh = after.next()
    assert isinstance(fresh, Trial)
    assert fresh.name == "search-0003"


@pytest.mark.parametrize("phase", list(Phase))
def test_killed_right_after_a_trial_was_written(tmp_path, uninterrupted, phase, monkeypatch):
    study, trained = study_with(), {}
    before = next(n for n, trial in enumerate(uninterrupted.issued) if trial.phase is phase)
    backend = Backend(study, url_in(tmp_path), hashed_score, trained)
    for _ in range(before):
        backend._run_trial(backend.plan.next())
    create = backend.plan._store.create

    def killed(*arguments: Any) -> None:
        create(*arguments)
        raise Killed

    monkeypatch.setattr(backend.plan._store, "create", killed)
    with pytest.raises(Killed):
        backend.plan.next()
    Backend(study, url_in(tmp_path), hashed_score, trained).run()
    assert summary_of(Plan(study, url_in(tmp_path)).results()) == summary_of(uninterrupted.ended)


def test_reading_an_unfinished_plan_changes_nothing(tmp_path):
    study = study_with(sampler="tpe")
    with pytest.raises(Killed):
        Backend(study, url_in(tmp_path), hashed_score, calls=40).run()
    Plan(study, url_in(tmp_path)).next()
    with sqlite3.connect(tmp_path / "plan.db") as database:
        before = list(database.iterdump())
        Plan(study, url_in(tmp_path)).results()
        assert list(database.iterdump()) == before


class InterruptedStudy(RuleBasedStateMachine):
    """Two trials run at once, in any order, with the driver killed at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.study = study_with(trials=4, final={"top": 1, "seeds": 1})
        self.folder = tempfile.TemporaryDirectory(prefix="dabo-plan-")
        self.running: dict[str, tuple[Trial, int]] = {}
        self.first_seen: dict[str, Trial] = {}
        self.ended: dict[str, Outcome] = {}

        self.start_driver()

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule()
    def start_driver(self) -> None:
        """Anew, as after a kill."""
        self.plan = Plan(self.study, url_in(Path(self.folder.name)))
        self.running = {}

    @precondition(lambda self: len(self.running) < 2)
    @rule()
    def next_trial(self) -> None:
        trial = self.plan.next()
        if trial is NoTrial.DONE:
            assert not self.running
            assert len(self.ended) == sum(self.plan.planned(phase) for phase in Phase) or self.plan.failure_reason
        if isinstance(trial, Trial):
            assert trial.name not in self.running
            assert trial.name not in self.ended
            assert self.first_seen.setdefault(trial.name, trial) == trial
            self.running[trial.name] = (trial, 0)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), fails=st.sampled_from([False] * 9 + [True]))
    def step(self, data: st.DataObject, fails: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.running)))
        trial, epoch = self.running[name]
        epoch += 1
        key = "test_accuracy" if trial.phase is Phase.FINAL else "select_accuracy"
        metrics = {"epoch": float(epoch), key: float(hashed_score(trial, epoch) or 0)}
        if fails:
            self._finish(name, Outcome.FAIL, {})
        elif self.plan.report(name, metrics):
            self._finish(name, Outcome.PRUNED, metrics)
        elif epoch == trial.epochs:
            self._finish(name, Outcome.COMPLETE, metrics)
        else:
            self.running[name] = (trial, epoch)

    def _finish(self, name: str, outcome: Outcome, metrics: dict[str, float]) -> None:
        self.plan.finish(name, outcome, metrics, "" if outcome is Outcome.COMPLETE else "why")
        del self.running[name]
        self.ended[name] = outcome

    @invariant()
    def results_say_what_happened(self) -> None:
        results = {result.trial.name: result.outcome for result in self.plan.results()}
        assert {name: o for name, o in results.items() if o is not Outcome.RUNNING} == self.ended
        assert set(self.running) <= set(results)


TestInterruptedStudy = InterruptedStudy.TestCase
TestInterruptedStudy.settings = settings(max_examples=3, stateful_step_count=40, deadline=None, database=None)


# Databases


def test_two_studies_in_one_database(tmp_path, uninterrupted):
    other = study_with(study="other", seed=5)
    Backend(other, url_in(tmp_path), hashed_score).run()
    assert Plan(study_with(), url_in(tmp_path)).results() == []
    Backend(study_with(), url_in(tmp_path), hashed_score).run()
    assert summary_of(Plan(study_with(), url_in(tmp_path)).results()) == summary_of(uninterrupted.ended)
    assert len(Plan(other, url_in(tmp_path)).results()) == 20


def test_results_are_read_from_the_folder(tmp_path, uninterrupted):
    import yaml

    study = study_with(database=url_in(tmp_path))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(to_dict(study)))
    Backend(study, database_url(study, tmp_path / "elsewhere"), hashed_score).run()
    assert summary_of(read_results(tmp_path)) == summary_of(uninterrupted.ended)
    # As a later version sees it, in which a setting has another default.
    later = study_with(database=url_in(tmp_path), augmenter={"hidden": 7})
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(to_dict(later)))
    assert summary_of(read_results(tmp_path)) == summary_of(uninterrupted.ended)
    with pytest.raises(ValueError, match="with other settings"):
        Plan(later, url_in(tmp_path))


def test_wall_seconds_add_up(tmp_path):
    Plan(study_with(), url_in(tmp_path)).add_wall_seconds(2.5)
    plan = Plan(study_with(), url_in(tmp_path))
    plan.add_wall_seconds(1.0)
    assert plan.wall_seconds == Plan(study_with(), url_in(tmp_path)).wall_seconds == 3.5


def make_garbage(path: Path) -> None:
    path.write_bytes(b"not a database" * 100)


def make_damaged(path: Path) -> None:
    """A plan whose later pages, those of the trials, are overwritten."""
    Backend(study_with(), f"sqlite:///{path}", hashed_score).run()
    content = bytearray(path.read_bytes())
    content[len(content) // 10 :] = b"\xff" * (len(content) - len(content) // 10)
    path.write_bytes(content)


def make_foreign(path: Path) -> None:
    """A plan made by another Optuna."""
    Plan(study_with(), f"sqlite:///{path}")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = 'v99'")


@pytest.mark.parametrize("make", [make_garbage, make_damaged, make_foreign])
def test_a_damaged_database_is_told_of(tmp_path, make):
    make(tmp_path / "plan.db")
    with pytest.raises(ValueError, match=r"the study's database .*plan\.db cannot be opened: "):
        Plan(study_with(), url_in(tmp_path))


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////nowhere/at/all/plan.db",
        "postgresql://ada:s3cret@127.0.0.1:1/db",
        "mysql+pymysql://ada:s3cret@127.0.0.1:1/db",
        "oracel://ada:s3cret@127.0.0.1:1/db",
        "ada:s3cret@nothing like a URL",
        "postgresql://ada:s3cret@host:no-port/db",
    ],
)
def test_a_database_out_of_reach_is_told_of_without_its_password(url):
    with pytest.raises(ValueError, match="cannot be opened: ") as caught:
        Plan(study_with(), url)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
