"""The folder of a study: made once, resumed only with the same settings, held by one driver at a time."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dabo_ray.config import Study
from dabo_ray.problems import ConfigError
from dabo_ray.service.sameness import continued
from dabo_ray.study_file import read_study, to_yaml
from dabo_ray.tracking.results import replacing


def study_folder(study: Study) -> Path:
    """Where everything of a study is kept, an absolute path."""
    return (Path(study.storage) / study.study).absolute()


@contextmanager
def held_folder(
    study: Study, comment: str, *, resume: bool, extended: Iterable[str] = ()
) -> Iterator[tuple[Path, Study]]:
    """The study's folder with its `study.yaml`, locked against a second driver, and the study to go on with.

    A folder that was made here is removed again when a `ConfigError` ends the block: nothing was begun in it.

    Args:
        study: the checked study file.
        comment: leading comment of the study file; the resolved file keeps it.
        resume: whether to go on with a study that is there.
        extended: keys of a study that is gone on with that may grow.

    Raises:
        ConfigError: the study is there and `resume` is false, was started with other settings, or is being run; or the
            folder cannot be written.
    """
    folder = study_folder(study)
    resolved = folder / "study.yaml"
    is_fresh = not folder.exists()
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
            study = continued(read_study(resolved), study, extended)
        lines = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
        try:
            with replacing(resolved) as path:
                path.write_text(lines + to_yaml(study), encoding="utf-8")
        except OSError as error:
            raise _unwritable(folder, error) from None
        try:
            yield folder, study
        except ConfigError:
            if is_fresh:
                shutil.rmtree(folder)
            raise


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot write to the study's folder {folder}: {error.strerror}; change storage or mend it")


def write_provenance(folder: Path, provenance: Mapping[str, str]) -> None:
    """Keeps where the numbers come from beside them."""
    with replacing(folder / "provenance.json") as path:
        path.write_text(json.dumps(dict(provenance), indent=2) + "\n", encoding="utf-8")
