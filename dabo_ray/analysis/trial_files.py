"""Files of the trials of a study: records, pictures, learned augmenters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import Outcome, Phase, TrialResult

if TYPE_CHECKING:
    from dabo_ray.augment.augmenter import Augmenter

Record = Mapping[str, float]
Records = Mapping[str, Sequence[Record]]
"""The records of the epochs of each trial, by its name."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_records(study_dir: Path, results: Sequence[TrialResult]) -> tuple[Records, list[str]]:
    """The records of every trial that has some, and the names of the trials whose records cannot be read."""
    records, unreadable = {}, []
    for result in results:
        path = StudyFolder(study_dir).trial(result.trial.name).records
        if not path.is_file():
            continue
        try:
            listing = json.loads(path.read_text(encoding="utf-8"))
            records[result.trial.name] = [dict(record, epoch=record["epoch"]) for record in listing]
        except (ValueError, TypeError, KeyError):
            unreadable.append(result.trial.name)
    return records, unreadable


def read_picture(path: Path) -> bytes | None:
    """A picture of a trial, a PNG; None if there is none, or no whole one."""
    content = path.read_bytes() if path.is_file() else b""
    return content if content.startswith(_PNG_SIGNATURE) else None


def learned_augmenters(study_dir: Path, results: Sequence[TrialResult]) -> dict[str, list[Augmenter]]:
    """What the seeds of each learned arm of the final phase have learned; files that cannot be read are passed over."""
    # Its torch takes seconds to import, and whoever only reads records needs none.
    from dabo_ray.augment.export import load_augmenter

    found: dict[str, list[Augmenter]] = {}
    for result in sorted(results, key=lambda result: result.trial.seed_index):
        trial = result.trial
        if trial.phase is not Phase.FINAL or result.outcome is not Outcome.COMPLETE:
            continue
        path = StudyFolder(study_dir).trial(trial.name).augmenter
        if path.is_file():
            try:
                found.setdefault(trial.arm, []).append(load_augmenter(path))
            except ValueError:
                continue
    return found
