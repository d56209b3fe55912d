"""MLflow's database in a file: its tables are made in a copy, which takes the file's place when it is whole.

MLflow makes them by migrations that are no transaction. A process that dies on the way, or a full disk, would leave a
file behind that no MLflow can open again.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from dabo_ray.storage.atomic import remove_leftovers, replacing
from dabo_ray.storage.lock import locked

if TYPE_CHECKING:
    from sqlalchemy import Engine

logger = logging.getLogger("dabo_ray")

CONTENT = ("runs", "registered_models")
"""Tables with what someone has logged."""

JOURNALS = ("-journal", "-wal", "-shm")
"""Endings of the files that SQLite keeps beside a database."""


class UnusableDatabaseError(Exception):
    """The file holds something else, or is damaged; says how to go on."""


def prepare(database: Path) -> None:
    """Makes the tables of MLflow's database if they are missing. One that a killed process left half made is made anew.

    Raises:
        UnusableDatabaseError: the file is no database of MLflow's, or is damaged.
        OSError: it cannot be written, or the disk is full; nothing has changed.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    # Of two studies that begin at once, one waits for the other.
    with locked(database.with_name(f"{database.name}.lock")):
        remove_leftovers(database)
        try:
            if database.exists() and database.stat().st_size and _is_usable(database):
                return
        except sqlite3.OperationalError:
            # It is locked, or the disk fails: another time.
            raise
        except sqlite3.DatabaseError as error:
            raise UnusableDatabaseError(_advice(database, f"it is damaged: {error}")) from error
        with replacing(database) as temporary:
            _make(temporary)
            for ending in JOURNALS:
                # SQLite would play the journal of the old file back into the new one.
                database.with_name(database.name + ending).unlink(missing_ok=True)


def _is_usable(database: Path) -> bool:
    """Whether MLflow can do with the file as it is; if not, it may be made anew: nobody has logged anything into it."""
    from mlflow.store.db import utils

    tables = _tables(database)
    engine = utils.create_sqlalchemy_engine(_uri(database))
    try:
        is_whole = utils._all_tables_exist(engine)
        if is_whole and utils._get_schema_version(engine) == utils._get_latest_schema_revision():
            return True
    finally:
        engine.dispose()
    if foreign := tables - _known_tables():
        raise UnusableDatabaseError(_advice(database, f"it holds tables of another program ({min(foreign)}, ...)"))
    if not any(_rows(database, table) for table in tables.intersection(CONTENT)):
        logger.warning("%s was left half made by a process that was killed; it held nothing and is made anew", database)
        return False
    if is_whole:
        # Of an older MLflow, which tells so itself.
        return True
    raise UnusableDatabaseError(_advice(database, "tables are missing, as after a migration that was killed"))


def _make(database: Path) -> None:
    from mlflow.store.db import utils

    engine: Engine = utils.create_sqlalchemy_engine(_uri(database))
    try:
        utils._initialize_tables(engine)
    finally:
        engine.dispose()


def _known_tables() -> set[str]:
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase

    return {*utils.Base.metadata.tables, *InitialBase.metadata.tables, "alembic_version"}


def _tables(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        # Alembic changes a table by way of a copy.
        return {name.removeprefix("_alembic_tmp_") for (name,) in names if not name.startswith("sqlite_")}


def _rows(database: Path, table: str) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _uri(database: Path) -> str:
    return f"sqlite:///{database}"


def _advice(database: Path, what: str) -> str:
    return (
        f"MLflow cannot use {database}: {what}. Move it away (mv {database} {database}.old), or name another "
        "tracking.uri; --resume then logs the study again"
    )
