"""Names of the files of a study."""

from __future__ import annotations

from pathlib import Path

from dabo_ray.storage.layout import StudyFolder, study_folders


def test_no_two_files_share_a_name(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    trial = folder.trial("search-0000")
    for each in (folder, trial):
        paths = [value for name, value in vars(each).items() if name != "path"]
        assert len(paths) == len(set(paths))
        assert all(path.parent == each.path for path in paths)
    assert trial.path == tmp_path / "trials" / "search-0000"


def test_a_study_was_started_when_it_has_a_plan_or_trials(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    assert not folder.was_started
    folder.study_file.write_text("study: a")
    assert not folder.was_started, "a file without a trial is what a refused study leaves"
    folder.trials.mkdir()
    assert folder.was_started
    folder.trials.rmdir()
    folder.plan.write_text("")
    assert folder.was_started


def test_records_are_those_that_there_are_by_name(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    for name in ("search-0001", "search-0000", "empty"):
        folder.trial(name).path.mkdir(parents=True)
    for name in ("search-0001", "search-0000"):
        folder.trial(name).records.write_text("[]")
    assert [path.parent.name for path in folder.records()] == ["search-0000", "search-0001"]


def test_studies_are_the_folders_with_a_study_file(tmp_path: Path) -> None:
    for name in ("b", "a", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "mlflow.db").write_text("")
    for name in ("b", "a"):
        StudyFolder(tmp_path / name).study_file.write_text("")
    assert [folder.path.name for folder in study_folders(tmp_path)] == ["a", "b"]
