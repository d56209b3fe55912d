"""Locks of cache files: one process writes and the others wait; what cannot be written is an error of data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dabo_ray.data.images import DataError
from dabo_ray.storage import atomic, lock


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Holds the lock of a cache file.

    Raises:
        DataError: the folder cannot be written to.
    """
    with _told(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    with _told(file), lock.locked(file.with_name(f"{file.name}.lock")):
        yield


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A path to write to, which becomes the cache file when all went well. For those who hold its lock.

    Raises:
        DataError: it cannot be written.
    """
    with _told(file):
        atomic.remove_leftovers(file)
        with atomic.replacing(file) as temporary:
            yield temporary


@contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"the cache {file} cannot be written ({error.strerror}); make room or set data.cache") from None
