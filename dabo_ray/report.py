"""The HTML report of a study, finished or not: one file that needs no network.

Run: python -m dabo_ray.report runs/digits
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dabo_ray.config import Study
from dabo_ray.exit_codes import ExitCode
from dabo_ray.interruption import exit_code_of
from dabo_ray.study_file import read_study
from dabo_ray.tracking.provenance import redact
from dabo_ray.tracking.results import metric, replacing, summarize
from dabo_ray.tracking.trial_files import read_records
from dabo_ray.tracking.verdict import p_text
from dabo_ray.tracking.wording import duration, key_under_arm
from dabo_ray.trials import Outcome, TrialResult

MAX_ROWS = 100
"""Rows that a table of trials shows; results.csv has them all."""

_MISSING = "\u2013"


def write_report(
    study_dir: Path, study: Study, *, question: str, results: Sequence[TrialResult], summary: Mapping[str, Any]
) -> Path:
    """Write `report.html` into a study's folder.

    Args:
        study_dir: The folder; the records and samples of the trials are read from `trials/` in it.
        study: Its study file.
        question: What it asks: the leading comment of its file, without the comment signs.
        results: Every trial of it, ended or not.
        summary: What `summarize` made of them.

    Returns:
        The file.
    """
    # Optuna and torch, behind them, take seconds to import; a wrong folder is told at once.
    from dabo_ray.service.importance import importance
    from dabo_ray.tracking.page import choosing_trials, sections

    records, unreadable = read_records(study_dir, results)
    environment = Environment(
        loader=PackageLoader("dabo_ray", "tracking"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": _duration,
        "key_under_arm": key_under_arm,
        "metric": metric,
        "number": _number,
        "p_text": p_text,
        "redacted": redact,
        "setting": _setting,
    }
    html = environment.get_template("report.html.jinja").render(
        study=study.study,
        paragraphs=question_paragraphs(question),
        answer=summary["answer"],
        summary=summary,
        unfinished=not summary["arms"] or any(result.outcome is Outcome.RUNNING for result in results),
        sections=sections(study_dir, results, records, summary, importance(results), study),
        trials=(trials := choosing_trials(results)),
        setting_keys=sorted({key for result in trials for key in result.trial.settings}),
        failures=[result for result in results if result.outcome is Outcome.FAIL],
        unreadable=unreadable,
        outcomes=[str(outcome) for outcome in Outcome],
        outcome_words={outcome: str(outcome).lower() for outcome in Outcome} | {Outcome.FAIL: "failed"},
        max_rows=MAX_ROWS,
    )
    report = study_dir / "report.html"
    with replacing(report) as path:
        path.write_text(html, encoding="utf-8")
    return report


def question_paragraphs(text: str) -> list[str]:
    """The paragraphs of a study file's leading comment.

    A blank line or a `Word:` starts a new one; a command, as in `Run: python ...`, is one by itself.
    """
    question = re.sub(r"(?m)^(Run: .*)$", r"\1\n", text).strip().removeprefix("Question:").strip()
    paragraphs = re.split(r"\n\s*\n|\n(?=[A-Z]\w*:\s)", question[:1].upper() + question[1:])
    return [" ".join(paragraph.split()) for paragraph in paragraphs if paragraph.strip()]


def leading_comment(text: str) -> str:
    """The comment lines that a study file begins with, without the comment signs."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(lines)


def _read_json(path: Path, default: Any) -> Any:
    """The value in a JSON file, `default` if there is no such file."""
    if not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error})") from error


def _number(value: float | None, digits: int = 2) -> str:
    return _MISSING if value is None else f"{value:.{digits}f}"


def _setting(value: object) -> str:
    if value is None:
        return _MISSING
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _duration(seconds: float | None) -> str:
    return _MISSING if seconds is None else duration(seconds)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report of the study in the given folder; returns 0, or 2 if it is not a study's folder."""
    parser = argparse.ArgumentParser(
        prog="python -m dabo_ray.report",
        description="Write the report of a study, finished or not: one HTML file that needs no network.",
    )
    parser.add_argument("study_dir", type=Path, metavar="FOLDER", help="the folder of a study, for example runs/digits")
    folder: Path = parser.parse_args(argv).study_dir
    # The plan may be kept in a database elsewhere; what was started has left trials.
    if not (folder / "study.yaml").is_file() or not any((folder / name).exists() for name in ("plan.db", "trials")):
        found = "it lacks study.yaml, or plan.db and trials/" if folder.is_dir() else "there is no such folder"
        print(
            f"{folder} is not the folder of a study: {found}. Give <storage>/<study>, as in runs/digits.",
            file=sys.stderr,
        )
        return ExitCode.BAD_INPUT

    from dabo_ray.service.plan import read_results

    try:
        study = read_study(folder / "study.yaml")
        provenance = _read_json(folder / "provenance.json", {})
        earlier = _read_json(folder / "summary.json", {})
        results = read_results(folder)
    except ValueError as error:
        print(f"{folder}: the study cannot be read. {error}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    report = write_report(
        folder,
        study,
        question=leading_comment((folder / "study.yaml").read_text(encoding="utf-8")),
        results=results,
        summary=summarize(
            study.study, results, earlier.get("wall_seconds"), provenance, budget=earlier.get("budget", "")
        ),
    )
    print(report)
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
