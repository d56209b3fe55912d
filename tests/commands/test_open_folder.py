"""The folder of a study: one driver at a time, and the same question as before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dabo_ray.commands.open_folder import held_folder, study_folder, write_provenance
from dabo_ray.config.describe import describe_plan
from dabo_ray.config.errors import ConfigError
from dabo_ray.config.file import leading_comment, read_study, to_yaml
from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.resume import flat

ROOT = Path(__file__).resolve().parents[2]
COMMENT = "Question: does it help?\n\nRun: python -m dabo_ray.study x.yaml: é"
StudyMaker = Callable[..., StudyConfig]


def start(study: StudyConfig, *, resume: bool = False, comment: str = COMMENT) -> Path:
    with held_folder(study, comment, resume=resume) as (folder, _):
        return folder


def refusal(study: StudyConfig, *, resume: bool) -> str:
    with pytest.raises(ConfigError) as caught:
        start(study, resume=resume)
    return str(caught.value)


def test_the_folder_keeps_the_question_and_every_value(make_study: StudyMaker):
    study = make_study("classifier.lr=1e-5", "study='08'")
    folder = start(study)
    assert folder == study_folder(study) == Path(study.storage) / "08"
    assert folder.is_absolute()
    assert read_study(folder / "study.yaml") == study
    text = (folder / "study.yaml").read_text(encoding="utf-8")
    assert text.startswith("# Question: does it help?\n#\n# Run: ")
    assert leading_comment(text) == COMMENT
    assert sorted(path.name for path in folder.iterdir()) == ["lock", "study.yaml"]


@pytest.mark.parametrize(
    "override", ["database=postgresql://ada:s3cret@h/db", "tracking.uri=https://ada:s3cret@h:5000"]
)
def test_nobody_else_reads_a_password(override: str, make_study: StudyMaker):
    study = make_study(override)
    path = start(study) / "study.yaml"
    assert path.stat().st_mode & 0o077 == 0
    assert read_study(path) == study
    assert "s3cret" not in describe_plan(study)
    assert start(make_study("study=other")).joinpath("study.yaml").stat().st_mode & 0o044


def test_a_relative_storage_is_below_the_working_folder(
    make_study: StudyMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert study_folder(make_study("storage=out")) == tmp_path / "out" / "tiny"


def test_a_second_start_needs_resume(make_study: StudyMaker):
    study = make_study()
    folder = start(study)
    said = refusal(study, resume=False)
    assert str(folder) in said and "--resume" in said and "--set study=NAME" in said
    assert start(study, resume=True) == folder


def test_resume_before_a_start_is_a_start(make_study: StudyMaker):
    assert (start(make_study(), resume=True) / "study.yaml").exists()


def test_resume_with_other_settings_names_them(make_study: StudyMaker):
    folder = start(make_study())
    before = (folder / "study.yaml").read_bytes()
    other = make_study("classifier.lr=0.2", "seed=3", "search.space.augmenter.hidden={choice: [8, 16]}")
    said = refusal(other, resume=True)
    named = [line.strip().split(":")[0] for line in said.splitlines() if line.startswith("  ")]
    assert named == [
        "classifier.lr",
        "search.space.augmenter.hidden.choice",
        "search.space.augmenter.hidden.when",
        "seed",
    ]
    assert "classifier.lr: was 0.1, is 0.2" in said and "--set study=NAME" in said
    assert (folder / "study.yaml").read_bytes() == before


@pytest.mark.parametrize(
    "override",
    [
        "resources.workers=2",
        "resources.cpus_per_worker=4",
        "resources.concurrent_trials=1",
        "tracking.uri=http://127.0.0.1:5000",
        "data.root=elsewhere",
        "database=sqlite:///other.db",
    ],
)
def test_where_it_runs_may_change(override: str, make_study: StudyMaker):
    start(make_study())
    changed = make_study(override)
    assert read_study(start(changed, resume=True) / "study.yaml") == changed


def test_a_moved_storage_is_the_same_study(make_study: StudyMaker, tmp_path: Path):
    start(make_study())
    (tmp_path / "runs").rename(tmp_path / "moved")
    start(make_study(f"storage={tmp_path / 'moved'}"), resume=True)


@pytest.fixture
def other_driver(make_study: StudyMaker, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder of the tiny study until its input is closed."""
    file = tmp_path / "held.yaml"
    file.write_text(to_yaml(make_study()))
    code = (
        "import sys; from pathlib import Path\n"
        "from dabo_ray.commands.open_folder import held_folder; from dabo_ray.config.file import read_study\n"
        "with held_folder(read_study(Path(sys.argv[1])), '', resume=False):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("resume", [True, False])
def test_a_second_driver_is_refused(resume: bool, make_study: StudyMaker, other_driver: subprocess.Popen[str]):
    assert other_driver.poll() is None
    assert "is being run by another process; wait for it or stop it" in refusal(make_study(), resume=resume)


def test_a_killed_driver_leaves_no_lock(make_study: StudyMaker, other_driver: subprocess.Popen[str]):
    other_driver.kill()
    other_driver.wait(30)
    start(make_study(), resume=True)


def test_a_file_where_the_storage_should_be(make_study: StudyMaker, tmp_path: Path):
    (tmp_path / "file").write_text("")
    said = refusal(make_study(f"storage={tmp_path / 'file'}"), resume=False)
    assert f"cannot write to the study's folder {tmp_path / 'file' / 'tiny'}: Not a directory" in said
    assert "change storage" in said


def test_a_study_file_that_cannot_be_written(make_study: StudyMaker):
    """A folder in the file's place fails as a full disk does: with an OSError from the write."""
    study = make_study()
    (study_folder(study) / f".study.yaml.{os.getpid()}.tmp").mkdir(parents=True)
    assert "cannot write to the study's folder" in refusal(study, resume=False)


def test_a_damaged_study_file_is_named(make_study: StudyMaker):
    folder = start(make_study())
    (folder / "study.yaml").write_text("study: [")
    said = refusal(make_study(), resume=True)
    assert str(folder / "study.yaml") in said and "not valid YAML" in said


def test_provenance_is_json(tmp_path: Path):
    write_provenance(tmp_path, {"commit": "abc"})
    assert (tmp_path / "provenance.json").read_text() == '{\n  "commit": "abc"\n}\n'


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"a": 1, "b": {"c": 2, "d": {"e": 3}}}, {"a": 1, "b.c": 2, "b.d.e": 3}),
        ({"a": {}, "b": []}, {"a": {}, "b": []}),
    ],
)
def test_flat(sections: dict[str, Any], expected: dict[str, Any]):
    assert flat(sections) == expected
