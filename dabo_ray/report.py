"""Command that writes the report of a study, or compares several: python -m dabo_ray.report runs/digits."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dabo_ray.analysis.results import summarize
from dabo_ray.commands.process import ExitCode, exit_code_of
from dabo_ray.config.file import leading_comment, read_study
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.tracking.activity import Activity


def _read_json(path: Path, default: Any) -> Any:
    """The value in a JSON file, `default` if there is no such file."""
    if not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error})") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report of the study in a folder, or compare several; returns 0, or 2 for what is no study's folder."""
    parser = argparse.ArgumentParser(
        prog="python -m dabo_ray.report",
        description="Write the report of a study, finished or not: one HTML file that needs no network. "
        "Of several studies of the same data, print how they compare.",
    )
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help="the folder of a study, for example runs/digits; of several, a comparison is printed instead",
    )
    folders: list[Path] = parser.parse_args(argv).folders
    for folder in folders:
        files = StudyFolder(folder)
        if not files.was_started:
            lacking = f"it lacks {files.study_file.name}, or {files.plan.name} and {files.trials.name}/"
            found = lacking if folder.is_dir() else "there is no such folder"
            print(
                f"{folder} is not the folder of a study: {found}. Give <storage>/<study>, as in runs/digits.",
                file=sys.stderr,
            )
            return ExitCode.BAD_INPUT
    return _report(folders[0]) if len(folders) == 1 else _compare(folders)


def _compare(folders: Sequence[Path]) -> int:
    """Prints how studies of the same data compare."""
    from rich.console import Console

    with Activity("loading torch and Optuna"):
        from dabo_ray.commands.compare import print_comparison

    try:
        provenance = [_read_json(StudyFolder(folder).provenance, {}) for folder in folders]
        print_comparison(folders, provenance, Console(highlight=False))
    except ValueError as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    return ExitCode.DONE


def _report(folder: Path) -> int:
    """Writes the report of one study, and prints where it is."""
    files = StudyFolder(folder)
    with Activity("reading the study") as activity:
        # Optuna and torch, behind them, take seconds to import; a wrong folder is told at once.
        from dabo_ray.planning.plan import read_results
        from dabo_ray.reporting.use_this import use_this
        from dabo_ray.reporting.writer import write_report

        try:
            study = read_study(files.study_file)
            provenance = _read_json(files.provenance, {})
            earlier = _read_json(files.summary, {})
            results = read_results(folder)
        except ValueError as error:
            print(f"{folder}: the study cannot be read. {error}", file=sys.stderr)
            return ExitCode.BAD_INPUT
        activity.now("writing the report")
        summary = summarize(
            study.study,
            results,
            earlier.get("wall_seconds"),
            provenance,
            budget=earlier.get("budget", ""),
            question=study.question,
        )
        summary["use_this"] = use_this(folder, study, results, summary["arms"])
        question = leading_comment(files.study_file.read_text(encoding="utf-8"))
        report = write_report(folder, study, question=question, results=results, summary=summary)
    print(report)
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
