"""Which errors are the machine's fault, and which a setting's."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from ray.exceptions import ActorDiedError, NodeDiedError, OutOfMemoryError, RayTaskError
from ray.tune.error import TuneError
from safetensors.torch import save_file
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from dabo_ray.faults import error_in_a_task, machine_fault, process_fault


def error_of(action: Callable[[], object]) -> Exception:
    try:
        action()
    except Exception as error:
        return error
    pytest.fail("no error")


@pytest.mark.parametrize(
    ("number", "what"),
    [
        *((errno.ENOSPC, "a disk is full"), (errno.EDQUOT, "a disk is full"), (errno.EIO, "the storage fails")),
        *((errno.ESTALE, "the storage fails"), (errno.EROFS, "the storage fails"), (errno.ENOENT, "a file is gone")),
        *((errno.EACCES, "the system forbids it"), (errno.EMFILE, "too many files"), (errno.ENOMEM, "out of memory")),
        *((errno.ECONNREFUSED, "does not answer"), (errno.ETIMEDOUT, "does not answer"), (errno.EPIPE, "not answer")),
    ],
)
def test_errors_of_the_system(number, what):
    told = machine_fault(OSError(number, os.strerror(number), "/data/image.png"))
    assert what in told
    assert os.strerror(number) in told and "/data/image.png" in told
    # As libraries in other languages tell it.
    assert (what in machine_fault(RuntimeError(f"IoError: {os.strerror(number)}"))) == (number != errno.ENOENT)


def test_a_full_disk_whoever_finds_it(tmp_path: Path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        of_python = error_of(lambda: (tmp_path / "a").write_text("x" * 10_000))
        of_rust = error_of(lambda: save_file({"weights": torch.zeros(10_000)}, tmp_path / "b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for error in (of_python, of_rust):
        assert machine_fault(error).startswith("a disk is full ("), repr(error)
        assert "free space there" in machine_fault(error)


def test_too_little_memory():
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (64 * 2**30, hard))
    try:
        of_torch, of_python = error_of(lambda: torch.empty(2**38)), error_of(lambda: bytearray(2**40))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    for error in (of_torch, of_python):
        assert "the machine is out of memory (" in machine_fault(error), repr(error)
        assert "resources.concurrent_trials" in machine_fault(error)


def test_databases(tmp_path: Path):
    def full() -> None:
        with sqlite3.connect(tmp_path / "small.db") as connection:
            connection.execute("PRAGMA max_page_count = 2")
            connection.execute("CREATE TABLE a (b)")
            connection.execute("INSERT INTO a VALUES (?)", ("x" * 100_000,))

    assert machine_fault(error_of(full)).startswith("a disk is full (OperationalError: database or disk is full)")
    folder = create_engine(f"sqlite:///{tmp_path}")
    error = error_of(lambda: folder.connect().execute(text("SELECT 1")))
    assert isinstance(error, OperationalError)
    assert machine_fault(error).startswith("the database fails (")


def test_errors_of_ray_and_what_lies_behind_them():
    killed = OutOfMemoryError("Memory on the node was 22 GB / 23 GB")
    assert machine_fault(killed).startswith("the machine is out of memory (OutOfMemoryError: Memory on the node was")
    outer = RuntimeError(f"Caught unexpected exception: {killed}")
    outer.__cause__ = killed
    assert machine_fault(outer) == machine_fault(killed)
    for error in (ActorDiedError(), NodeDiedError("a node is dead")):
        assert machine_fault(error).startswith("Ray has lost a process or a node (")
    full = RayTaskError("step", "", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert machine_fault(full).startswith("a disk is full (")
    assert machine_fault(RayTaskError("step", "", ValueError("shapes differ"))) == ""


def test_the_text_of_a_traceback_is_told_by_its_last_line():
    text = "Traceback (most recent call last):\n  File ...\nsqlite3.OperationalError: database or disk is full\n"
    told = machine_fault(TuneError(text))
    assert told.startswith("a disk is full (TuneError: sqlite3.OperationalError: database or disk is full)")


LOST = "Failure # 1 (occurred at noon)\nThe actor died unexpectedly.\n\tpid: 17\n"
RAISED = """Failure # 2 (occurred at one)
\x1b[36mray::StudyTrial.train()\x1b[39m (pid=17, ip=192.0.2.2)
           ^^^^^^^^^^^
  File "trial.py", line 7, in step
    raise ValueError
ValueError: shapes differ
second line
"""


def test_an_error_in_a_task_is_told_from_a_process_that_has_ended():
    assert error_in_a_task(LOST) == ""
    assert error_in_a_task(LOST + RAISED) == "ValueError: shapes differ"
    assert error_in_a_task(RAISED + LOST) == ""
    assert process_fault(LOST).startswith("a process has ended, mostly because the machine is out of memory; lower")


def test_faults_of_a_setting(tmp_path: Path):
    broken = tmp_path / "image.png"
    Image.new("RGB", (64, 64)).save(broken)
    broken.write_bytes(broken.read_bytes()[:-40])
    for error in (
        error_of(lambda: Image.open(broken).load()),
        error_of(lambda: torch.zeros(2, 3) @ torch.zeros(2, 3)),
        error_of(lambda: dict[str, float]()["lr"]),
        # What stands in the way is of the study's making.
        error_of(lambda: tmp_path.write_text("")),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    ):
        assert machine_fault(error) == "", repr(error)


def test_an_error_while_another_was_handled_is_its_own():
    def look_up() -> None:
        try:
            Path("/nowhere").read_text()
        except OSError:
            raise KeyError("lr")  # noqa: B904

    assert machine_fault(error_of(look_up)) == ""
