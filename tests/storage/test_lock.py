"""Locks that are held by other processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dabo_ray.storage.lock import HeldError, is_held, locked, locked_at_once

HOLDER = (
    "import sys, time; from pathlib import Path; from dabo_ray.storage.lock import locked\n"
    "with locked(Path(sys.argv[1])):\n"
    "    print('held', flush=True); time.sleep(60)"
)


@contextmanager
def holder(file: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(file)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_lock_that_another_process_holds_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with holder(file):
        assert is_held(file)
        start = time.monotonic()
        with pytest.raises(HeldError), locked_at_once(file):
            pass
        assert time.monotonic() - start < 10


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with holder(file) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not is_held(file)
        with locked_at_once(file):
            assert is_held(file)
    assert not is_held(file)


def test_who_waits_gets_it_when_it_is_free(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    got = threading.Event()

    def wait() -> None:
        with locked(file):
            got.set()

    with holder(file) as process:
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not got.wait(0.3)
        process.kill()
        assert got.wait(20)
        waiting.join()


def test_a_look_at_a_lock_that_was_never_made_leaves_nothing(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []
