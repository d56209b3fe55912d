"""Locks between processes; the system lets go of one when its process ends, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

# Everyone may see whether a lock is held, which takes a file that all can read.
_MODE = 0o644

GRACE_SECONDS = 0.5
"""How long a lock is asked for that must be free: whoever only looks, with `is_held`, has it for a moment."""


class HeldError(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Holds the lock of a lock file, after waiting for it as long as it takes.

    Raises:
        OSError: the lock file cannot be made.
    """
    with FileLock(file, mode=_MODE):
        yield


@contextmanager
def locked_at_once(file: Path) -> Iterator[None]:
    """Holds the lock of a lock file, if it is free.

    Raises:
        HeldError: it is not.
        OSError: the lock file cannot be made.
    """
    lock = FileLock(file, mode=_MODE)
    try:
        lock.acquire(timeout=GRACE_SECONDS)
    except Timeout:
        raise HeldError(str(file)) from None
    try:
        yield
    finally:
        lock.release()


def is_held(file: Path) -> bool:
    """Whether a process holds the lock now."""
    if not file.exists():
        return False
    try:
        with FileLock(file, timeout=0, mode=_MODE):
            return False
    except Timeout:
        return True
