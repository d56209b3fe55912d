"""Sizes, and where a study reads and writes, are checked before anything is begun, and by --check."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dabo_ray.commands.process import ExitCode
from dabo_ray.config.errors import ConfigError
from dabo_ray.config.file import read_study
from dabo_ray.study import main

LONG = "x" * 300


def check(folder: Path, override: str) -> int:
    """The exit code of --check."""
    (folder / "tiny.yaml").write_text("study: tiny\ndata: {name: digits}\n")
    return main([str(folder / "tiny.yaml"), "--check", "--set", override])


@pytest.mark.parametrize(
    ("override", "told"),
    [
        *((f"study={name}", "must not begin with mlflow.db, mlartifacts") for name in ("mlflow.db", "mlartifacts")),
        *((f"study={name}", "must not begin with") for name in ("MLFLOW.DB", "mlflow.db-journal", "mlruns")),
        ("storage='runs?a=b'", r"storage: must not hold \?"),
        ("storage='my%20runs'", "storage: must not hold %"),
        ("storage=s3://bucket/runs", "storage: must be a folder"),
        *(
            (f"{key}=a/{'x' * 300}", rf"{key}: has a name of 300 bytes")
            for key in ("storage", "data.root", "data.cache")
        ),
        (f"classifier={{name: resnet18_imagenet, weights: {LONG}}}", "classifier.weights: has a name of 300 bytes"),
        ("storage=" + "äöü/" * 900, r"storage: has a name of 6 bytes; file systems take 255, and 4000 in all"),
        *((f"database='{url}'", "database: is a database in memory") for url in ("sqlite://", "sqlite:///:memory:")),
        *((f"database='{url}'", "database: is a database in memory") for url in ("sqlite:///", "sqlite+pysqlite://")),
        ("database='sqlite:///file::memory:?uri=true'", "database: is a database in memory"),
        *((f"database={url}", f"database: must be the URL of a database.* got '{url}'") for url in ("foo", "plan.db")),
        *((f"tracking.uri={uri}", f"must be the address of an MLflow .* got '{uri}'") for uri in ("banana", "mlruns")),
        ("tracking.uri=file:///tmp/mlruns", "must be the address of an MLflow server or of its database"),
        ("tracking.uri='sqlite://'", "tracking.uri: is a database in memory"),
        *(
            (f"{key}=1000000000000", f"{key}: is 1000000000000; no machine")
            for key in ("classifier.epochs", "classifier.batch_size")
        ),
        *((f"{key}=1000000000000", f"{key}: ") for key in ("classifier.width", "augmenter.hidden", "search.trials")),
        ('storage="a\\0b"', "holds a character that no path may have"),
        ('data.root="a\\x1bb"', "holds a character that no path may have"),
    ],
)
def test_what_cannot_be(override: str, told: str, tmp_path: Path, capsys):
    assert check(tmp_path, override) == ExitCode.BAD_INPUT
    assert re.search(told, capsys.readouterr().err)


@pytest.mark.parametrize(
    "override",
    [
        *("study=my-mlflow.db", "storage=/mnt/my runs/ä", "storage=a#b", "data.root=../data"),
        "database=sqlite:///plan.db",
        *("tracking.uri=http://127.0.0.1:5000", "tracking.uri=https://host/", "tracking.uri=sqlite:////tmp/mlflow.db"),
        *(
            "tracking.uri=databricks",
            "classifier.epochs=10000000",
            "seed=2000000000",
        ),
    ],
)
def test_what_can_be(override: str, tmp_path: Path):
    assert check(tmp_path, override) == ExitCode.DONE


@pytest.mark.parametrize("key", ["database", "tracking.uri"])
@pytest.mark.parametrize(
    ("scheme", "module", "package"),
    [("postgresql+psycopg2", "psycopg2", "psycopg2-binary"), ("mysql+pymysql", "pymysql", "pymysql")],
)
def test_a_driver_that_is_not_installed(key, scheme, module, package, tmp_path: Path, monkeypatch, capsys):
    override = f"{key}={scheme}://ada:s3cret@host/db"
    monkeypatch.setitem(sys.modules, module, None)
    assert check(tmp_path, override) == ExitCode.BAD_INPUT
    told = capsys.readouterr().err
    assert f"{key}: needs {module}, not installed here: pip install '{package}'" in told and "s3cret" not in told
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(paramstyle="pyformat", __version__="2.9.9"))
    assert check(tmp_path, override) == ExitCode.DONE


@pytest.mark.parametrize("key", ["database", "tracking.uri"])
def test_a_driver_that_nobody_knows(key: str, tmp_path: Path, capsys):
    assert check(tmp_path, f"{key}=postgresql+banana://host/db") == ExitCode.BAD_INPUT
    assert f"{key}: names a driver that SQLAlchemy does not know" in capsys.readouterr().err


def test_the_environment_names_the_mlflow_of_studies_that_name_none(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5999")
    assert check(tmp_path, "seed=0") == ExitCode.DONE
    assert "MLflow      http://127.0.0.1:5999" in capsys.readouterr().out
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    assert check(tmp_path, "seed=0") == ExitCode.BAD_INPUT
    assert "MLFLOW_TRACKING_URI: must be the address of an MLflow server" in capsys.readouterr().err
    assert check(tmp_path, "tracking.uri=http://127.0.0.1:5000") == ExitCode.DONE
    assert "MLflow      http://127.0.0.1:5000" in capsys.readouterr().out


def test_a_wrong_database_does_not_show_its_password(tmp_path: Path, capsys):
    assert check(tmp_path, "database=postgres//ada:s3cret@host/db") == ExitCode.BAD_INPUT
    told = capsys.readouterr().err
    assert "database: must be the URL of a database" in told and "s3cret" not in told


def test_a_study_file_with_a_name_of_other_letters():
    name = os.fsdecode(b"studies/\xff.yaml")
    with pytest.raises(ConfigError, match=r"the name of the study file .*udcff.* is not UTF-8; rename it"):
        read_study(Path(name))


def test_a_folder_that_addresses_cannot_hold(tmp_path: Path, monkeypatch, capsys):
    """The part before `storage` is that of the folder where the study is started."""
    (tmp_path / "100%25").mkdir()
    monkeypatch.chdir(tmp_path / "100%25")
    Path("tiny.yaml").write_text("study: tiny\ndata: {name: digits}\n")
    assert main(["tiny.yaml"]) == ExitCode.BAD_INPUT
    assert "storage: must not hold %" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["tiny.yaml"]
