"""A study's plan and its folder belong together, and one driver at a time has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dabo_ray.commands.open_folder import check_whole, held_plan
from dabo_ray.config.errors import ConfigError
from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning import driver_lock
from dabo_ray.planning.plan import Plan
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import Outcome, Trial

StudyMaker = Callable[..., StudyConfig]


def run_one(plan: Plan, files: StudyFolder) -> None:
    """A trial, in the plan and in the folder."""
    trial = plan.next()
    assert isinstance(trial, Trial)
    records = files.trial(trial.name).records
    records.parent.mkdir(parents=True)
    records.write_text("[]")
    plan.finish(trial.name, Outcome.COMPLETE, {"epoch": 2.0, "select_accuracy": 50.0, "seconds": 1.0})


@pytest.mark.parametrize("loss", ["missing", "emptied"])
def test_a_plan_that_was_lost_is_not_begun_anew_over_what_was_trained(
    make_study: StudyMaker, tmp_path: Path, loss: str
):
    study, files = make_study(), StudyFolder(tmp_path / "tiny")
    files.path.mkdir()
    url = f"sqlite:///{files.plan}"
    plan = Plan(study, url)
    check_whole(study, plan, files)
    run_one(plan, files)
    check_whole(study, Plan(study, url), files)
    files.plan.unlink() if loss == "missing" else files.plan.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"has 1 trial\(s\) in .*plan.db\) has none: it was lost"):
        check_whole(study, Plan(study, url), files)


def test_a_plan_whose_files_are_elsewhere(make_study: StudyMaker, tmp_path: Path):
    study = make_study(f"database=sqlite:///{tmp_path}/shared.db")
    there, here = StudyFolder(tmp_path / "a" / "tiny"), StudyFolder(tmp_path / "b" / "tiny")
    plan = Plan(study, study.database)
    plan.settle(there.path)
    run_one(plan, there)
    again = Plan(study, study.database)
    check_whole(study, again, there)
    with pytest.raises(ConfigError, match=rf"files are in {there.path} and not in .*--set storage={tmp_path}/a\)"):
        check_whole(study, again, here)
    # Moved with its files.
    there.path.parent.rename(tmp_path / "b")
    check_whole(study, again, here)


def test_two_drivers_on_one_database(make_study: StudyMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(driver_lock, "SECONDS_BETWEEN_BEATS", 0.05)
    monkeypatch.setattr(driver_lock, "SECONDS_TO_SETTLE", 0.0)
    study = make_study(f"database=sqlite:///{tmp_path}/shared.db")
    with held_plan(study, tmp_path / "a"):
        told = rf"is being run on the same database by process \d+ on .*, in {tmp_path}/a; wait for it or stop it"
        with pytest.raises(ConfigError, match=told), held_plan(study, tmp_path / "b"):
            pass
    with held_plan(study, tmp_path / "b"):
        pass
