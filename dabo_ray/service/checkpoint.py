"""All that a trial needs to go on, on disk: written whole or not at all, read without running code."""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

VERSION = 1
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
        self._checkpoint = self.path / "checkpoint.pt"
        self._previous = self.path / "checkpoint-previous.pt"
        self._records = self.path / "records.json"

    def save(self, state: Mapping[str, Any], records: Sequence[Mapping[str, float]]) -> None:
        """Writes a checkpoint and keeps the one before it, then the records for people and reports."""
        self.path.mkdir(parents=True, exist_ok=True)
        content = {"version": VERSION, "state": dict(state), "records": [dict(record) for record in records]}
        temporary = self._checkpoint.with_suffix(".tmp")
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        if self._checkpoint.exists():
            os.replace(self._checkpoint, self._previous)
        os.replace(temporary, self._checkpoint)
        listing = self._records.with_suffix(".tmp")
        listing.write_text(json.dumps([dict(record) for record in records]), encoding="utf-8")
        os.replace(listing, self._records)

    def load(self) -> tuple[dict[str, Any], list[dict[str, float]]] | None:
        """State and records of the newest readable checkpoint, or None if there is none."""
        for path in (self._checkpoint, self._previous):
            if not path.exists():
                continue
            try:
                content = torch.load(path, map_location="cpu", weights_only=True)
                if content["version"] != VERSION:
                    raise ValueError(f"made by another version ({content['version']}, this one reads {VERSION})")
            except (OSError, ValueError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
                _LOG.warning("%s cannot be read and is passed over: %s", path, error)
                continue
            return content["state"], content["records"]
        return None

    def remove_checkpoints(self) -> None:
        """Frees the space of a trial that has ended; its records and pictures stay."""
        for path in (self._checkpoint, self._previous):
            path.unlink(missing_ok=True)
