"""What is recorded about code and machine, and that no secret is."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest

from dabo_ray.config.addresses import redact
from dabo_ray.tracking.provenance import collect


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://ada:s3cret@db.example:5432/mlflow", "postgresql://db.example:5432/mlflow"),
        ("postgresql+psycopg2://ada:a/b@c@db/mlflow", "postgresql+psycopg2://db/mlflow"),
        ("https://token@server/path?x=1", "https://server/path?x=1"),
        ("mysql://db/m?user=ada&password=s3cret&ssl=1", "mysql://db/m?user=ada&password=***&ssl=1"),
        ("s3://bucket/key?X-Amz-Signature=abc", "s3://bucket/key?X-Amz-Signature=***"),
        ("could not reach http://a:b@c/ and http://d:e@f/", "could not reach http://c/ and http://f/"),
        ("AWS_SECRET_ACCESS_KEY=abc123", "AWS_SECRET_ACCESS_KEY=***"),
        ("sqlite:///runs/mlflow.db", "sqlite:///runs/mlflow.db"),
        ("http://127.0.0.1:5000/a@b", "http://127.0.0.1:5000/a@b"),
        ("seed=3 augmenter.lr=0.01", "seed=3 augmenter.lr=0.01"),
    ],
)
def test_secrets_are_removed_and_the_rest_stays(given: str, expected: str) -> None:
    assert redact(given) == expected


def test_collects_text_about_this_machine_without_its_name() -> None:
    facts = collect(gpus=["NVIDIA A", "NVIDIA B"], dataset_digest="sha256:12")
    assert all(isinstance(value, str) and value for value in facts.values())
    assert facts["python"] == platform.python_version()
    assert facts["ray"].startswith("2.")
    assert facts["gpus"] == "NVIDIA A, NVIDIA B"
    assert facts["dataset_digest"] == "sha256:12"
    assert facts["started"].endswith("+00:00")
    assert float(facts["memory_gib"]) > 0
    assert int(facts["cpus"]) >= 1
    assert len(platform.node()) < 4 or not any(platform.node() in value for value in facts.values())


def test_the_command_line_loses_its_secrets_and_the_folder_of_the_interpreter() -> None:
    words = ["/home/ada/.venv/bin/python", "-m", "dabo_ray.study", "a b.yaml", "--token", "abc"]
    words += ["--set", "tracking.uri=http://ada:s3cret@host/"]
    command = collect(command=words)["command"]
    assert command == "python -m dabo_ray.study 'a b.yaml' --token '***' --set tracking.uri=http://host/"


def test_commit_and_changes_of_a_checkout(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "code.py").write_text("x = 1\n")

    def git(*arguments: str) -> str:
        names = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run(["git", *names, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    assert collect(package=package)["commit"] == "unknown", "a package that the surrounding checkout does not track"
    git("add", ".")
    git("commit", "-q", "-m", "first")
    facts = collect(package=package)
    assert (facts["commit"], facts["dirty"]) == (git("rev-parse", "HEAD"), "false")
    (package / "code.py").write_text("x = 2\n")
    assert collect(package=package)["dirty"] == "true"


def test_no_checkout_and_no_git_are_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert collect(package=tmp_path)["commit"] == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert collect(package=Path(__file__).parent)["dirty"] == "unknown"
