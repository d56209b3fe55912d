"""Folder of a study: made once, resumed only with the same settings, held by one driver at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dabo_ray.config.addresses import database_url, redact
from dabo_ray.config.errors import ConfigError
from dabo_ray.config.file import read_study, to_yaml
from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.driver_lock import PlanHeldError
from dabo_ray.planning.plan import Plan
from dabo_ray.planning.resume import continued
from dabo_ray.storage.atomic import remove_all_leftovers, write_atomically
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.storage.lock import HeldError, locked_at_once


def study_folder(study: StudyConfig) -> Path:
    """Where everything of a study is kept, an absolute path."""
    return (Path(study.storage) / study.study).absolute()


@contextmanager
def held_folder(
    study: StudyConfig, comment: str, *, resume: bool, extended: Iterable[str] = ()
) -> Iterator[tuple[Path, StudyConfig]]:
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
    files = StudyFolder(folder)
    is_fresh = not folder.exists()
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked_at_once(files.lock))
        except OSError as error:
            raise _unwritable(folder, error) from None
        except HeldError:
            raise ConfigError(
                f"the study {study.study!r} is being run by another process; wait for it or stop it"
            ) from None
        remove_all_leftovers(folder)
        if files.study_file.exists():
            if not resume:
                raise ConfigError(
                    f"the study {study.study!r} was started before, in {folder}. Add --resume to go on with it or to "
                    f"see its results again, --set study=NAME to run it under another name, or remove the folder"
                )
            study = continued(read_study(files.study_file), study, extended)
        lines = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
        try:
            content = lines + to_yaml(study)
            write_atomically(files.study_file, content, owner_only=redact(content) != content)
        except OSError as error:
            raise _unwritable(folder, error) from None
        try:
            yield folder, study
        except ConfigError:
            if is_fresh:
                shutil.rmtree(folder)
            raise


@contextmanager
def held_plan(study: StudyConfig, folder: Path) -> Iterator[None]:
    """Locks a plan in a database that others may share; that in the study's folder is locked with it.

    Raises:
        ConfigError: the database cannot be opened, or a driver elsewhere runs the study.
    """
    if not study.database:
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(Plan(study, study.database).held(folder))
        except ValueError as error:
            raise ConfigError(str(error)) from None
        except PlanHeldError as error:
            raise ConfigError(
                f"the study {study.study!r} is being run on the same database by {error}; wait for it or stop it, or "
                "use another name or database"
            ) from None
        yield


def check_whole(study: StudyConfig, plan: Plan, files: StudyFolder) -> None:
    """Refuses a plan and a folder that do not belong together: what one has finished, the other knows.

    Raises:
        ConfigError: the plan has no trial of those in the folder, or the folder none of those in the plan.
    """
    known, trained = plan.results(), files.records()
    if trained and not known:
        raise ConfigError(
            f"the study {study.study!r} has {len(trained)} trial(s) in {files.trials}, and its plan "
            f"({redact(database_url(study, files))}) has none: it was lost or emptied, or another database was named "
            f"before. Put that back, or remove {files.path} to begin from nothing"
        )
    if known and not trained and plan.home not in ("", str(files.path)):
        raise ConfigError(
            f"the database of the study {study.study!r} has {len(known)} trial(s), whose files are in {plan.home} and "
            f"not in {files.path}. Go on there (--set storage={Path(plan.home).parent}), or use another name or "
            "another database"
        )


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot write to the study's folder {folder}: {error.strerror}; change storage or mend it")


def write_provenance(folder: Path, provenance: Mapping[str, str]) -> None:
    """Keeps where the numbers come from beside them."""
    write_atomically(StudyFolder(folder).provenance, json.dumps(dict(provenance), indent=2) + "\n")
