"""The folder of a study: made once, resumed only with the same settings, held by one driver at a time."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dabo_ray.config import Study
from dabo_ray.study_file import ConfigError, read_study, to_dict, to_yaml
from dabo_ray.tracking.results import replacing

CHANGEABLE = ("resources.", "tracking.", "storage", "database", "data.root")
"""Keys that may differ when a study is gone on with: where it runs, not what it asks."""


def study_folder(study: Study) -> Path:
    """Where everything of a study is kept, an absolute path."""
    return (Path(study.storage) / study.study).absolute()


@contextmanager
def held_folder(study: Study, comment: str, *, resume: bool) -> Iterator[Path]:
    """The study's folder with its `study.yaml`, locked against a second driver.

    Args:
        study: the checked study file.
        comment: leading comment of the study file; the resolved file keeps it.
        resume: whether to go on with a study that is there.

    Raises:
        ConfigError: the study is there and `resume` is false, was started with other settings, or is being run; or the
            folder cannot be written.
    """
    folder = study_folder(study)
    resolved = folder / "study.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise _unwritable(folder, error) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"the study {study.study!r} is being run by another process; wait for it or stop it"
            ) from None
        if resolved.exists():
            if not resume:
                raise ConfigError(
                    f"the study {study.study!r} was started before, in {folder}. Add --resume to go on with it or to "
                    f"see its results again, --set study=NAME to run it under another name, or remove the folder"
                )
            _check_same(read_study(resolved), study)
        lines = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
        try:
            with replacing(resolved) as path:
                path.write_text(lines + to_yaml(study), encoding="utf-8")
        except OSError as error:
            raise _unwritable(folder, error) from None
        yield folder


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot write to the study's folder {folder}: {error.strerror}; change storage or mend it")


def write_provenance(folder: Path, provenance: Mapping[str, str]) -> None:
    """Keeps where the numbers come from beside them."""
    with replacing(folder / "provenance.json") as path:
        path.write_text(json.dumps(dict(provenance), indent=2) + "\n", encoding="utf-8")


def _check_same(before: Study, now: Study) -> None:
    old, new = flat(to_dict(before)), flat(to_dict(now))
    changed = [
        f"  {key}: was {old.get(key)!r}, is {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not key.startswith(CHANGEABLE)
    ]
    if changed:
        raise ConfigError(
            f"the study {now.study!r} was started with other settings, so its trials would not belong together:\n"
            + "\n".join(changed)
            + "\nPut them back to go on, or use another name (--set study=NAME)"
        )


def flat(sections: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one level of key paths."""
    found: dict[str, Any] = {}
    for key, value in sections.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
