"""What --list and --show tell of studies that are done, under way, interrupted and damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dabo_ray.commands.listing import list_studies, show_trial
from dabo_ray.commands.open_folder import held_folder
from dabo_ray.config.errors import ConfigError
from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.phases import NoTrial
from dabo_ray.planning.plan import Plan
from dabo_ray.trials import Outcome, Phase, Trial

StudyMaker = Callable[..., StudyConfig]


def begin(study: StudyConfig, trials: int = 99) -> None:
    """Starts a study and ends some of its trials."""
    with held_folder(study, "", resume=False) as (folder, _):
        plan = Plan(study, f"sqlite:///{folder}/plan.db")
        for _ in range(trials):
            if (trial := plan.next()) is NoTrial.DONE:
                break
            assert isinstance(trial, Trial)
            key = "test_accuracy" if trial.phase is Phase.FINAL else "select_accuracy"
            plan.finish(trial.name, Outcome.COMPLETE, {"epoch": 2, "seconds": 1.5, key: 90.0})


def test_studies_with_their_state(make_study: StudyMaker, tmp_path: Path):
    begin(make_study("study=whole"))
    begin(make_study("study=cut"), 2)
    (tmp_path / "runs" / "odd").mkdir()
    (tmp_path / "runs" / "odd" / "study.yaml").write_text("study: [")
    with held_folder(make_study("study=going"), "", resume=False):
        begun = Plan(make_study("study=going"), f"sqlite:///{tmp_path}/runs/going/plan.db")
        begun.next()
        lines = {line.split()[0]: line.split() for line in list_studies(tmp_path / "runs").splitlines()}
    assert lines["whole"][1:3] == ["done", "6/6"]
    assert lines["cut"][1:3] == ["interrupted", "2/6"]
    assert lines["going"][1:3] == ["running", "0/6"]
    assert lines["odd"][1] == "unreadable"


def test_no_studies(tmp_path: Path):
    assert list_studies(tmp_path) == f"No studies in {tmp_path}."
    with pytest.raises(ConfigError, match="there is no folder"):
        list_studies(tmp_path / "nowhere")


def test_a_trial_in_full(make_study: StudyMaker, tmp_path: Path):
    begin(make_study())
    told = show_trial(tmp_path / "runs", "tiny", "search-0001")
    assert "outcome   COMPLETE" in told and "augmenter.lr: 0.0" in told and "select_accuracy: 90" in told


@pytest.mark.parametrize(("study", "trial", "words"), [("none", "t", "no study 'none'"), ("tiny", "t", "no trial 't'")])
def test_what_is_not_there(make_study: StudyMaker, tmp_path: Path, study: str, trial: str, words: str):
    begin(make_study(), 1)
    with pytest.raises(ConfigError, match=words):
        show_trial(tmp_path / "runs", study, trial)
