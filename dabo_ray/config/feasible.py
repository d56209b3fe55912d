"""Whether any machine could run a study: its sizes, and where it is told to read and write."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dabo_ray.config.addresses import TRACKING_VARIABLE
from dabo_ray.config.errors import ConfigError
from dabo_ray.config.key_paths import to_dict
from dabo_ray.config.schema import StudyConfig
from dabo_ray.storage.database_driver import missing_driver

MAX_PART, MAX_PATH = 255, 4000
"""Bytes that file systems take: of a name, and of a whole path."""

MAX_SIZE = 10_000_000
"""Of any whole number but the seed: epochs, units of a layer, images of a batch, trials."""

TAKEN = ("mlflow.db", "mlartifacts", "mlruns")
"""What MLflow keeps beside the studies; names that begin so are its journals and locks."""

_DATABASE = re.compile(r"^(sqlite|postgresql|mysql|mariadb|oracle|mssql)(\+\w+)?://")
_TRACKING = re.compile(r"^(https?|(sqlite|postgresql|mysql|mssql)(\+\w+)?|databricks(-uc)?)://|^databricks(-uc)?$")
_MEMORY = re.compile(r"^sqlite(\+\w+)?:(//)?(/?(\?.*)?$|/(file)?:memory:|/file::memory:)")


_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def check_feasible(study: StudyConfig) -> None:
    """Refuses what could not be run anywhere, before anything is begun.

    Raises:
        ConfigError: naming each key.
    """
    told = {
        "study": _wrong_name(study.study),
        "storage": _wrong_storage(study.storage, Path(study.storage).absolute()),
        "database": _wrong_database(study.database),
        "tracking.uri": _wrong_tracking(study.tracking.uri),
        TRACKING_VARIABLE: "" if study.tracking.uri else _wrong_tracking(os.environ.get(TRACKING_VARIABLE, "")),
        "data.root": _wrong_path(study.data.root),
        "data.cache": _wrong_path(study.data.cache),
        "data.fold": _wrong_path(study.data.fold),
        "classifier.weights": _wrong_path(study.classifier.weights),
        **{key: f"is {size}; no machine can bear more than {MAX_SIZE}" for key, size in _too_large(to_dict(study))},
    }
    wrong = [f"  {key}: {problem}" for key, problem in told.items() if problem]
    if wrong:
        count = "1 value" if len(wrong) == 1 else f"{len(wrong)} values"
        raise ConfigError(f"the study {study.study!r} has {count} that no machine can do with:\n" + "\n".join(wrong))


def _too_large(values: Any, key: str = "") -> Iterator[tuple[str, int]]:
    """The whole numbers that are, by key path."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from _too_large(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list):
        for value in values:
            yield from _too_large(value, key)
    elif isinstance(values, int) and values > MAX_SIZE and key != "seed":
        yield key, values


def _wrong_path(path: str) -> str:
    """Of a file or a folder."""
    if _CONTROL.search(path):
        return f"holds a character that no path may have, got {path!a}; remove it"
    longest = max((len(part.encode()) for part in path.split("/")), default=0)
    if longest > MAX_PART or len(path.encode()) > MAX_PATH:
        return f"has a name of {longest} bytes; file systems take {MAX_PART}, and {MAX_PATH} in all: shorten it"
    return ""


def _wrong_storage(storage: str, whole: Path) -> str:
    """Of the folder that studies are kept in."""
    # In the address of a database they begin the query, and a character by its number.
    if found := set(str(whole)) & set("?%"):
        where = f"got {storage!r}" if found & set(storage) else f"and {str(whole)!r} does; start the study elsewhere"
        return f"must not hold {' or '.join(sorted(found))}, which addresses of databases cannot hold, {where}"
    return _wrong_path(storage)


def _wrong_name(study: str) -> str:
    """Of a study, whose folder stands beside MLflow's files."""
    if study.lower().startswith(TAKEN):
        return f"must not begin with {', '.join(TAKEN)}, the names of MLflow's files beside the study, got {study!r}"
    return ""


def _wrong_database(url: str) -> str:
    """Of the storage of the plan."""
    if url and _MEMORY.match(url):
        return "is a database in memory, which ends with the process; name a file: sqlite:///FILE"
    if url and not _DATABASE.match(url):
        return f"must be the URL of a database, as sqlite:///FILE or postgresql://HOST/NAME{_given(url)}"
    return missing_driver(url) if url else ""


def _wrong_tracking(uri: str) -> str:
    """Of MLflow's store."""
    if uri and _MEMORY.match(uri):
        return "is a database in memory, which ends with the process; name a file: sqlite:///FILE"
    if uri and not _TRACKING.match(uri):
        allowed = "http://HOST:5000, sqlite:///FILE or postgresql://HOST/NAME"
        return f"must be the address of an MLflow server or of its database, as {allowed}{_given(uri)}"
    is_database = "://" in uri and not uri.startswith(("http", "databricks"))
    return missing_driver(uri) if is_database else ""


def _given(url: str) -> str:
    """What was given, unless it may have a password in it."""
    return "" if "@" in url else f"; got {url!r}"
