"""Checkpoints: all that a trial needs to go on; written whole or not at all, read without running code."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.export import load_augmenter
from dabo_ray.faults import machine_fault
from dabo_ray.storage.atomic import remove_all_leftovers, replacing, write_atomically
from dabo_ray.storage.layout import TrialFolder

VERSION = 3
_LOG = logging.getLogger("dabo_ray")


def save_checkpoint(folder: TrialFolder, state: Mapping[str, Any], records: Sequence[Mapping[str, float]]) -> None:
    """Writes a checkpoint and keeps the one before it, then the records.

    Args:
        folder: of the trial; made if it is missing.
        state: tensors, numbers, texts and containers of them.
        records: of all epochs so far.

    Raises:
        OSError: the disk is full, or the folder cannot be written to; the checkpoint before stays readable.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    content = {"version": VERSION, "state": dict(state), "records": [dict(record) for record in records]}
    # Not straight into the file: of a full disk torch only says that it was interrupted.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with replacing(folder.checkpoint) as temporary:
        temporary.write_bytes(buffer.getbuffer())
        if folder.checkpoint.exists():
            os.replace(folder.checkpoint, folder.previous_checkpoint)
    write_atomically(folder.records, _as_json(records))


def mend_after_a_kill(folder: TrialFolder, records: Sequence[Mapping[str, float]]) -> None:
    """Brings a trial's folder in line with its checkpoint, which a killed process may have written last.

    Args:
        folder: of the trial.
        records: of its checkpoint; none if there is no checkpoint.
    """
    remove_all_leftovers(folder.path)
    content = _as_json(records)
    if records and not (folder.records.exists() and folder.records.read_text() == content):
        write_atomically(folder.records, content)


def _as_json(records: Sequence[Mapping[str, float]]) -> str:
    return json.dumps([dict(record) for record in records])


def load_checkpoint(folder: TrialFolder) -> tuple[dict[str, Any], list[dict[str, float]]] | None:
    """State and records of the newest readable checkpoint, or None if there is none.

    Raises:
        OSError: the storage fails; what it holds may be good, and is not to be trained again.
    """
    for path in (folder.checkpoint, folder.previous_checkpoint):
        if not path.exists():
            continue
        try:
            return _read(path)
        except OSError as error:
            if machine_fault(error):
                raise
            _LOG.warning("%s cannot be read and is passed over: %s", path, error)
        except _DAMAGE as error:
            _LOG.warning("%s cannot be read and is passed over: %s", path, error)
            # Out of the way, or the next one saved would push out the good one before it.
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, folder.unreadable_checkpoint)
    return None


def remove_checkpoints(folder: TrialFolder) -> None:
    """Frees the space of a trial that has ended; its records, its pictures and what it learned stay."""
    for path in (folder.checkpoint, folder.previous_checkpoint, folder.unreadable_checkpoint):
        path.unlink(missing_ok=True)
    remove_all_leftovers(folder.path)


def load_learned(folder: TrialFolder) -> tuple[Augmenter, float]:
    """The augmenter that a complete trial learned, and the seconds that it took."""
    records = json.loads(folder.records.read_text())
    return load_augmenter(folder.augmenter), records[-1]["seconds"]


_DAMAGE = (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, LookupError)


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, float]]]:
    # torch reads over bytes that have changed; the archive that it writes has checksums.
    with zipfile.ZipFile(path) as archive:
        if (part := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"its part {part} is damaged")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content["version"] != VERSION:
        raise ValueError(f"made by another version ({content['version']}, this one reads {VERSION})")
    return content["state"], content["records"]
