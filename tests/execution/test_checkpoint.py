"""Checkpoints: whole or not at all, the previous one if the newest is bad, and no code run when they are read."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dabo_ray.execution import checkpoint
from dabo_ray.execution.checkpoint import load_checkpoint, remove_checkpoints, save_checkpoint
from dabo_ray.storage.layout import StudyFolder, TrialFolder

RECORDS = [{"epoch": 1.0, "select_accuracy": 50.0}, {"epoch": 2.0, "select_accuracy": 60.0}]


def state_of(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "weights": [torch.full((1000,), float(epoch))], "outer": None}


def epoch_in(folder: TrialFolder) -> int | None:
    """Epoch of the state that would be gone on with, after a look that it is all of one piece."""
    if (saved := load_checkpoint(folder)) is None:
        return None
    state, records = saved
    assert state["epoch"] == len(records)
    assert torch.equal(state["weights"][0], state_of(state["epoch"])["weights"][0])
    return int(state["epoch"])


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    """A trial with checkpoints of its first and second epoch."""
    folder = StudyFolder(tmp_path).trial("search-0000")
    save_checkpoint(folder, state_of(1), RECORDS[:1])
    save_checkpoint(folder, state_of(2), RECORDS)
    return folder


def test_the_newest_is_loaded(folder):
    assert epoch_in(folder) == 2
    assert json.loads((folder.path / "records.json").read_text()) == RECORDS


def test_nothing_there(tmp_path):
    assert load_checkpoint(StudyFolder(tmp_path).trial("search-0000")) is None


def test_no_more_than_two_are_kept(folder):
    save_checkpoint(folder, state_of(3), [*RECORDS, {"epoch": 3.0}])
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "checkpoint-previous.pt",
        "checkpoint.pt",
        "records.json",
    ]


def test_removed_at_the_end(folder):
    folder.samples.write_bytes(b"a picture")
    remove_checkpoints(folder)
    remove_checkpoints(folder)
    assert sorted(path.name for path in folder.path.iterdir()) == ["records.json", "samples.png"]
    assert load_checkpoint(folder) is None


# Writing


def test_a_write_that_fails_in_the_middle(folder, monkeypatch):
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(folder, state_of(3), [*RECORDS, {"epoch": 3.0}])
    assert epoch_in(folder) == 2
    assert json.loads((folder.path / "records.json").read_text()) == RECORDS
    assert not list(folder.path.glob("*.tmp")), "half a file would hold space that a full disk has not"


def test_a_full_disk(folder):
    """The system itself refuses to write more than a page."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_checkpoint(folder, {**state_of(3), "more": torch.zeros(10_000)}, [*RECORDS, {"epoch": 3.0}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert epoch_in(folder) == 2
    save_checkpoint(folder, state_of(3), [*RECORDS, {"epoch": 3.0}])
    assert epoch_in(folder) == 3


@pytest.mark.parametrize("replaced", range(3))
def test_killed_between_two_renames(folder, monkeypatch, replaced):
    calls = 0

    def replace(source: Any, target: Any) -> None:
        nonlocal calls
        if calls == replaced:
            raise KeyboardInterrupt
        calls += 1
        os.rename(source, target)

    monkeypatch.setattr(checkpoint.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(folder, state_of(3), [*RECORDS, {"epoch": 3.0}])
    assert epoch_in(folder) == (3 if replaced == 2 else 2)


WRITER = """
import sys
from pathlib import Path
import torch
from dabo_ray.execution.checkpoint import save_checkpoint
from dabo_ray.storage.layout import StudyFolder
folder = StudyFolder(Path(sys.argv[1])).trial("search-0000")
records = []
while True:
    epoch = len(records) + 1
    records.append({"epoch": float(epoch)})
    state = {"epoch": epoch, "weights": [torch.full((1000,), float(epoch))], "ballast": torch.zeros(100_000)}
    save_checkpoint(folder, state, records)
    print(epoch, flush=True)
"""


@pytest.mark.slow
def test_killed_while_writing(tmp_path):
    """Whatever the moment, what is loaded is the last epoch that was said to be saved, or the one being saved."""
    for saves in (1, 2, 5, 8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / str(saves))],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ) as writer:
            assert writer.stdout is not None
            said = [int(writer.stdout.readline()) for _ in range(saves)]
            writer.send_signal(signal.SIGKILL)
            said += [int(line) for line in writer.stdout]
        loaded = epoch_in(StudyFolder(tmp_path / str(saves)).trial("search-0000"))
        assert loaded in (said[-1], said[-1] + 1)


# Reading


class Trap:
    """A pickle that runs a command where it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def spoil_truncate(path: Path, trace: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def spoil_empty(path: Path, trace: Path) -> None:
    path.write_bytes(b"")


def spoil_garbage(path: Path, trace: Path) -> None:
    path.write_bytes(bytes(range(256)) * 20)


def spoil_bits(path: Path, trace: Path) -> None:
    """One byte of the weights is another: a disk that forgets."""
    content = bytearray(path.read_bytes())
    epoch = torch.load(path)["state"]["epoch"]
    content[content.index(struct.pack("<f", epoch) * 100) + 200] ^= 0xFF
    path.write_bytes(content)


def spoil_version(path: Path, trace: Path) -> None:
    torch.save({"version": checkpoint.VERSION + 1, "state": {}, "records": []}, path)


def spoil_shape(path: Path, trace: Path) -> None:
    torch.save([1, 2, 3], path)


def spoil_missing_part(path: Path, trace: Path) -> None:
    torch.save({"version": checkpoint.VERSION, "records": []}, path)


def spoil_trap(path: Path, trace: Path) -> None:
    torch.save({"version": checkpoint.VERSION, "state": Trap(f"touch {trace}"), "records": []}, path)


SPOILERS = [value for name, value in sorted(globals().items()) if name.startswith("spoil_")]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_when_the_newest_is_bad_the_previous_serves(folder, tmp_path, spoil, caplog):
    spoil(folder.path / "checkpoint.pt", tmp_path / "trace")
    assert epoch_in(folder) == 1
    assert "checkpoint.pt cannot be read and is passed over" in caplog.text
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("spoil", SPOILERS)
def test_when_both_are_bad_the_trial_begins_again(folder, tmp_path, spoil):
    for name in ("checkpoint.pt", "checkpoint-previous.pt"):
        spoil(folder.path / name, tmp_path / "trace")
    assert load_checkpoint(folder) is None
    assert not (tmp_path / "trace").exists()


def test_a_bad_checkpoint_does_not_become_the_previous_one(folder):
    """Or a second fault would leave none."""
    spoil_truncate(folder.path / "checkpoint.pt", folder.path)
    assert epoch_in(folder) == 1
    save_checkpoint(folder, state_of(2), RECORDS)
    spoil_truncate(folder.path / "checkpoint.pt", folder.path)
    assert epoch_in(folder) == 1


def test_a_storage_that_fails_is_not_taken_for_a_checkpoint_that_is_bad(folder, monkeypatch):
    """Or epochs that were trained would be trained again, over the good file."""

    def fail(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(checkpoint, "_read", fail)
    with pytest.raises(OSError, match="Input/output error"):
        load_checkpoint(folder)
    monkeypatch.undo()
    assert epoch_in(folder) == 2
