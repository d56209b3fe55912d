"""A fault of the machine is no verdict on a trial: it is left to the next driver, which goes on with it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.phases import GIVE_UP_AFTER, NoTrial
from dabo_ray.planning.plan import Plan
from dabo_ray.trials import Outcome, Trial, TrialResult
from tests.planning.fake_backend import Backend, hashed_score, study_with, url_in

FAULT = "a disk is full (OSError: [Errno 28] No space left on device); free space there"


class OnAFullDisk(Backend):
    """Leaves some of its trials to the next backend."""

    broken: Collection[str] = ()

    def _run_trial(self, trial: Trial) -> TrialResult:
        if trial.name in self.broken:
            self.trained[trial.name] = 1
            return self._call(self.plan.leave, trial.name, {"epoch": 1.0, "seconds": 0.5}, FAULT)
        return super()._run_trial(trial)


def run(study: StudyConfig, folder: Path, broken: Collection[str], **options) -> Backend:
    backend = OnAFullDisk(study, url_in(folder), hashed_score, **options)
    backend.broken = broken
    return backend.run()


def answers(plan: Plan) -> list[tuple[object, ...]]:
    """What a study has found: a final trial keeps the name that it got under its first arm."""
    return sorted((r.trial.arm, r.trial.seed, r.outcome, sorted(r.metrics.items())) for r in plan.results())


def test_what_was_left_is_gone_on_with_and_the_answer_is_the_same(tmp_path: Path):
    study = study_with(pruner={"name": "none"})
    (tmp_path / "whole").mkdir()
    whole = run(study, tmp_path / "whole", ())
    # The best of the search among them: the final phase compares others first, and the right ones in the end.
    best = next(trial.origin for trial in whole.plan._phases.final_trials() if trial.arm == "learned-1")
    assert best is not None
    broken = {"baseline-flip", best, "final-none-seed-1"}
    first = run(study, tmp_path, broken)
    assert {result.trial.name for result in first.plan.left} == broken
    assert first.plan.is_done and not first.plan.machine_fault and not first.plan.failure_reason
    stored = {result.trial.name: result for result in Plan(study, url_in(tmp_path), only_read=True).results()}
    assert all(stored[name].outcome is Outcome.RUNNING and stored[name].reason == FAULT for name in broken)

    again = run(study, tmp_path, (), trained=first.trained)
    assert {trial.name for trial in again.issued[: len(broken)]} == broken, "before all others"
    assert not again.plan.left
    assert answers(again.plan) == answers(whole.plan)


def test_several_in_a_row_stop_the_study_whenever_they_come(tmp_path: Path):
    study = study_with()
    everything = {f"search-{number:04d}" for number in range(6)}
    stopped = run(study, tmp_path, everything)
    assert [trial.name for trial in stopped.issued] == [
        *("baseline-none", "baseline-flip"),
        *(f"search-{number:04d}" for number in range(GIVE_UP_AFTER)),
    ]
    assert stopped.plan.machine_fault == FAULT
    assert not stopped.plan.failure_reason
    reopened = Plan(study, url_in(tmp_path))
    assert not reopened.is_done and not reopened.machine_fault
    assert len(run(study, tmp_path, ()).plan.results()) == len(run(study, tmp_path, ()).plan.results()) > 6


def test_a_candidate_is_not_tried_on_other_seeds_while_it_waits(tmp_path: Path):
    study = study_with(repeats=2, trials=2, pruner={"name": "none"})
    backend = run(study, tmp_path, {"search-0000"})
    assert not any(trial.name.startswith(("search-0000-", "search-0002")) for trial in backend.issued)
    again = run(study, tmp_path, (), trained=backend.trained)
    assert "search-0000-repeat-1" in {trial.name for trial in again.issued}


def test_a_trial_that_is_taken_back_comes_again_before_all_others(tmp_path: Path):
    plan = Plan(study_with(), url_in(tmp_path))
    first, second = plan.next(), plan.next()
    assert isinstance(first, Trial) and isinstance(second, Trial)
    plan.take_back(first.name)
    assert plan.running == [second.name]
    assert plan.next() == first
    assert plan.next() not in (first, NoTrial.DONE)
