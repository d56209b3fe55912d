"""Atomic writes: a file appears whole and on the disk, or not at all, whenever the writer dies."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which takes its place when the block ends well and is removed when it does not.

    Raises:
        OSError: the folder cannot be written to, or the disk is full.
    """
    # Not tempfile: its files are readable by their owner alone, and a study's folder is shared.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes | memoryview, *, owner_only: bool = False) -> None:
    """Writes a whole file; text as UTF-8; with `owner_only` nobody else may read it.

    Raises:
        OSError: as `replacing`.
    """
    with replacing(path) as temporary:
        if owner_only:
            temporary.touch(mode=0o600)
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def remove_leftovers(path: Path) -> None:
    """Removes what writers of `path` left behind that were killed; for those who hold the lock of `path`."""
    # SQLite keeps a journal beside a file that it writes.
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp*"):
        left.unlink(missing_ok=True)


def remove_all_leftovers(folder: Path) -> None:
    """Removes what writers of any file in a folder left behind; for those who know that nobody writes there."""
    for left in folder.glob(".*.tmp*"):
        if left.is_file():
            left.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Waits until a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
