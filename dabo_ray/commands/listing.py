"""Listings for the terminal: the studies under a storage folder, and single trials of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from dabo_ray.config.errors import ConfigError
from dabo_ray.config.file import read_study
from dabo_ray.reporting.terminal_table import as_text, make_table
from dabo_ray.storage.layout import StudyFolder, study_folders
from dabo_ray.storage.lock import is_held
from dabo_ray.trials import Outcome, Phase, TrialResult


def list_studies(storage: Path) -> str:
    """A line for each study below the folder: name, state, trials that have ended, best arm so far.

    Raises:
        ConfigError: there is no such folder.
    """
    if not storage.is_dir():
        raise ConfigError(f"there is no folder {storage}; name the one that studies are kept in (--storage DIR)")
    rows = [_row(folder) for folder in study_folders(storage)]
    if not rows:
        return f"No studies in {storage}."
    return as_text(make_table({"study": "left", "state": "left", "trials": "left", "best arm": "left"}, rows))


def _row(folder: StudyFolder) -> tuple[str, str, str, str]:
    from dabo_ray.config.addresses import database_url
    from dabo_ray.planning.plan import Plan

    try:
        study = read_study(folder.study_file)
        if not study.database and not folder.plan.exists():
            return folder.path.name, "not begun", "0", "-"
        plan = Plan(study, database_url(study, folder), only_read=True)
    except ValueError as error:
        return folder.path.name, "unreadable", "-", str(error).splitlines()[0]
    results = plan.results()
    ended = sum(result.outcome is not Outcome.RUNNING for result in results)
    planned = sum(plan.planned(phase) for phase in Phase)
    has_answer = any(r.trial.phase is Phase.FINAL and r.outcome is Outcome.COMPLETE for r in results)
    state = "running" if is_held(folder.lock) else "interrupted"
    if plan.is_done:
        state = "done" if has_answer else "failed"
    if plan.is_done and plan.budget_note:
        state += ", budget reached"
    return folder.path.name, state, f"{ended}/{planned}", _best_arm(folder)


def _best_arm(folder: StudyFolder) -> str:
    try:
        summary = json.loads(folder.summary.read_text(encoding="utf-8"))
        best = next(arm for arm in summary["arms"] if arm["name"] == summary["best"])
    except (OSError, ValueError, KeyError, StopIteration):
        return "-"
    return f"{best['name']} {best['test_score']['mean']:.2f} %"


def show_trial(storage: Path, study: str, trial: str) -> str:
    """A trial of a study in full: how it stands, its settings, its last numbers and its files.

    Raises:
        ConfigError: there is no such study or trial.
    """
    folder = StudyFolder(storage / study)
    if not folder.study_file.is_file():
        raise ConfigError(f"there is no study {study!r} in {storage}; --list shows those that are there")
    from dabo_ray.planning.plan import read_results

    try:
        results = {result.trial.name: result for result in read_results(folder.path)}
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if trial not in results:
        names = ", ".join(results) or "none yet"
        raise ConfigError(f"the study {study!r} has no trial {trial!r}; its trials: {names}")
    return as_text(make_table({"": "left", " ": "left"}, _facts(results[trial], folder)))


def _facts(result: TrialResult, folder: StudyFolder) -> Iterator[tuple[str, str]]:
    """Names and values; a value of several lines has its name in the first of them."""
    trial = result.trial
    single = {
        "trial": trial.name,
        "phase": trial.phase,
        "arm": trial.arm,
        "method": trial.method,
        "outcome": f"{result.outcome}{f': {result.reason}' if result.reason else ''}",
        "seed": trial.seed,
        "epochs": trial.epochs,
        "origin": trial.origin or "-",
    }
    yield from ((name, str(value)) for name, value in single.items())
    for name, values in (("settings", trial.settings), ("metrics", result.metrics)):
        lines = [f"{key}: {_value(value)}" for key, value in values.items()] or ["-"]
        yield name, lines[0]
        yield from (("", line) for line in lines[1:])
    files = sorted(folder.trial(trial.name).path.glob("*"))
    yield "files", ", ".join(path.name for path in files) or "-"


def _value(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
