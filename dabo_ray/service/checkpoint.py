"""All that a trial needs to go on, on disk: written whole or not at all, read without running code."""

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

from dabo_ray.augment.export import load_augmenter
from dabo_ray.augment.learned import Augmenter

VERSION = 2
_LOG = logging.getLogger("dabo_ray")


class TrialFolder:
    """The files of one trial, under `<storage>/<study>/trials/<name>/`.

    Args:
        study_folder: seen by every process of the study at this path.
        name: of the trial.
    """

    def __init__(self, study_folder: Path, name: str) -> None:
        self.path = study_folder / "trials" / name
        self.samples = self.path / "samples.png"
        self.augmenter = self.path / "augmenter.safetensors"
        self._checkpoint = self.path / "checkpoint.pt"
        self._previous = self.path / "checkpoint-previous.pt"
        self._unreadable = self.path / "checkpoint-unreadable.pt"
        self._records = self.path / "records.json"

    def save(self, state: Mapping[str, Any], records: Sequence[Mapping[str, float]]) -> None:
        """Writes a checkpoint and keeps the one before it, then the records for people and reports."""
        self.path.mkdir(parents=True, exist_ok=True)
        content = {"version": VERSION, "state": dict(state), "records": [dict(record) for record in records]}
        # Not straight into the file: of a full disk torch only says that it was interrupted.
        buffer = io.BytesIO()
        torch.save(content, buffer)
        temporary = self._checkpoint.with_suffix(".tmp")
        _write(temporary, buffer.getbuffer())
        if self._checkpoint.exists():
            os.replace(self._checkpoint, self._previous)
        os.replace(temporary, self._checkpoint)
        listing = self._records.with_suffix(".tmp")
        _write(listing, json.dumps(content["records"]).encode())
        os.replace(listing, self._records)

    def load(self) -> tuple[dict[str, Any], list[dict[str, float]]] | None:
        """State and records of the newest readable checkpoint, or None if there is none."""
        for path in (self._checkpoint, self._previous):
            if not path.exists():
                continue
            try:
                return _read(path)
            except OSError as error:
                _LOG.warning("%s cannot be read and is passed over: %s", path, error)
            except _DAMAGE as error:
                _LOG.warning("%s cannot be read and is passed over: %s", path, error)
                # Out of the way, or the next one saved would push out the good one before it.
                with contextlib.suppress(FileNotFoundError):
                    os.replace(path, self._unreadable)
        return None

    def learned(self) -> tuple[Augmenter, float]:
        """The augmenter that a complete trial learned, and the seconds that it took."""
        records = json.loads(self._records.read_text())
        return load_augmenter(self.augmenter), records[-1]["seconds"]

    def remove_checkpoints(self) -> None:
        """Frees the space of a trial that has ended; its records, its pictures and what it learned stay."""
        for path in (self._checkpoint, self._previous, self._unreadable):
            path.unlink(missing_ok=True)


_DAMAGE = (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, LookupError)


def _write(path: Path, content: bytes | memoryview) -> None:
    """Writes a file that is on the disk when this returns, or not there at all."""
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, float]]]:
    # torch reads over bytes that have changed; the archive that it writes has checksums.
    with zipfile.ZipFile(path) as archive:
        if (part := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"its part {part} is damaged")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content["version"] != VERSION:
        raise ValueError(f"made by another version ({content['version']}, this one reads {VERSION})")
    return content["state"], content["records"]
