"""MLflow's database file is whole or not there, whatever happens while it is made."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from dabo_ray.faults import machine_fault
from dabo_ray.tracking.mlflow_database import UnusableDatabaseError, prepare

MAKE = "import sys, pathlib; from dabo_ray.tracking.mlflow_database import prepare; prepare(pathlib.Path(sys.argv[1]))"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("whole") / "mlflow.db"
    prepare(database)
    return database


@pytest.fixture
def database(whole: Path, tmp_path: Path) -> Path:
    """A copy, to be spoilt."""
    return Path(shutil.copy(whole, tmp_path / "mlflow.db"))


def execute(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def is_good(database: Path) -> bool:
    """Whether MLflow can log into it."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{database}")
    run = client.create_run(client.create_experiment("a study"))
    return bool(client.get_run(run.info.run_id))


def test_killed_while_it_is_made(tmp_path: Path):
    database = tmp_path / "mlflow.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", MAKE, str(database)], env=environment) as maker:
        while not (made := list(tmp_path.glob(".mlflow.db.*.tmp"))) or made[0].stat().st_size < 100_000:
            assert maker.poll() is None
            time.sleep(0.01)
        maker.send_signal(signal.SIGKILL)
    assert not database.exists()
    prepare(database)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == ["mlflow.db"]
    assert is_good(database)


def test_the_disk_fills_while_it_is_made(tmp_path: Path):
    database = tmp_path / "mlflow.db"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(Exception) as caught:  # noqa: PT011
            prepare(database)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert machine_fault(caught.value)
    assert not database.exists()


def test_one_that_is_whole_is_left_alone(database: Path):
    before = database.read_bytes()
    prepare(database)
    assert database.read_bytes() == before


HALF = ("DROP TABLE webhooks", "UPDATE alembic_version SET version_num = '451aebb31d03'")
"""As after a migration that was killed: MLflow finds tables that it wants to make."""


def test_one_left_half_made_is_made_anew(database: Path, caplog: pytest.LogCaptureFixture):
    from mlflow import MlflowClient

    execute(database, *HALF)
    with pytest.raises(Exception, match=r"already exists|duplicate column"):
        MlflowClient(f"sqlite:///{shutil.copy(database, database.with_name('other.db'))}")
    prepare(database)
    assert "was left half made by a process that was killed; it held nothing and is made anew" in caplog.text
    assert is_good(database)


def test_one_with_runs_is_not_touched(database: Path):
    execute(database, *HALF, "INSERT INTO runs (run_uuid, experiment_id) VALUES ('a', 0)")
    before = database.read_bytes()
    with pytest.raises(UnusableDatabaseError, match=r"tables are missing.*Move it away \(mv .*--resume then"):
        prepare(database)
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "told"),
    [("trials", "it holds tables of another program"), (None, "it is damaged: file is not a database")],
)
def test_what_is_no_database_of_mlflow_is_refused(tmp_path: Path, content: str | None, told: str):
    database = tmp_path / "mlflow.db"
    if content is None:
        database.write_bytes(b"no database at all" * 100)
    else:
        execute(database, f"CREATE TABLE {content} (a)")
    before = database.read_bytes()
    with pytest.raises(UnusableDatabaseError, match=told):
        prepare(database)
    assert database.read_bytes() == before
