"""Atomic writes under faults."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dabo_ray.storage.atomic import remove_all_leftovers, remove_leftovers, replacing, write_atomically


def files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_text_and_bytes_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "é")
    assert path.read_bytes() == "é".encode()
    write_atomically(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    write_atomically(path, memoryview(b"two"))
    assert path.read_bytes() == b"two"
    assert files(tmp_path) == ["a.json"]


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise ValueError("on the way")

    with pytest.raises(ValueError, match="on the way"):
        fail()
    assert path.read_text() == "old"
    assert files(tmp_path) == ["a.json"]


def test_a_disk_that_is_full_when_the_file_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert files(tmp_path) == ["a.json"]


def test_a_file_is_flushed_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    flush, move = os.fsync, os.replace

    def watched_flush(descriptor: int) -> None:
        done.append("flush")
        flush(descriptor)

    def watched_move(source: Path, target: Path) -> None:
        done.append("move")
        move(source, target)

    monkeypatch.setattr(os, "fsync", watched_flush)
    monkeypatch.setattr(os, "replace", watched_move)
    write_atomically(tmp_path / "a.json", "new")
    assert done == ["flush", "move", "flush"], "the file, its new name, the folder that has the name"


def test_a_killed_writer_leaves_the_old_file_and_a_leftover_that_can_be_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "old")
    script = (
        "import os, signal, sys; from pathlib import Path; from dabo_ray.storage.atomic import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    (left,) = set(files(tmp_path)) - {"a.json"}
    assert left.startswith(".a.json.")
    (tmp_path / ".b.json.1.tmp").write_text("of another file")
    remove_leftovers(path)
    assert files(tmp_path) == [".b.json.1.tmp", "a.json"]
    remove_all_leftovers(tmp_path)
    assert files(tmp_path) == ["a.json"]


def test_files_can_be_read_by_all_who_may_read_a_new_file(tmp_path: Path) -> None:
    """A study's folder is shared, so the mode is that of the user's mask."""
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "a.json", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o644
