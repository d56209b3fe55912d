"""One process writes and the others wait; a file appears whole or not at all, whenever the writer dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dabo_ray.data.images import DataError


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Holds the lock of a file; the system lets go of it when the process ends, however it ends.

    Raises:
        DataError: the folder cannot be written to.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(file.with_name(f"{file.name}.lock"), os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise _unwritable(file, error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@contextmanager
def replaced(file: Path) -> Iterator[Path]:
    """A path to write to, which becomes `file` when all went well. Call it under the lock of `file`.

    Raises:
        DataError: it cannot be written.
    """
    # Of writers that were killed; none is alive while the lock is held.
    for left in file.parent.glob(f"{file.name}.*.part"):
        left.unlink(missing_ok=True)
    temporary = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(file)
    except OSError as error:
        raise _unwritable(file, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def _unwritable(file: Path, error: OSError) -> DataError:
    return DataError(f"the cache {file} cannot be written ({error.strerror}); make room or set data.cache")
