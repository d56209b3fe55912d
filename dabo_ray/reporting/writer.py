"""HTML report of a study, finished or not: one file that needs no network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from dabo_ray.analysis.convergence import spreads_text
from dabo_ray.analysis.statistics import interval_95
from dabo_ray.analysis.trial_files import read_records
from dabo_ray.analysis.trial_metrics import metric, score_in_words, select_score
from dabo_ray.analysis.verdict import p_text
from dabo_ray.analysis.wording import duration, key_under_arm
from dabo_ray.config.addresses import redact
from dabo_ray.config.schema import StudyConfig
from dabo_ray.storage.atomic import write_atomically
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import Outcome, Phase, TrialResult

MAX_ROWS = 100
"""Rows that a table of trials shows; results.csv has them all."""

_MISSING = "\u2013"


def write_report(
    study_dir: Path, study: StudyConfig, *, question: str, results: Sequence[TrialResult], summary: Mapping[str, Any]
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
    from dabo_ray.analysis.importance import importance
    from dabo_ray.reporting.page import choosing_trials, sections

    records, unreadable = read_records(study_dir, results)
    environment = Environment(
        loader=PackageLoader("dabo_ray", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": _duration,
        "files": partial(_files, study_dir),
        "interval_95": interval_95,
        "key_under_arm": key_under_arm,
        "metric": metric,
        "select_score": select_score,
        "number": _number,
        "p_text": p_text,
        "redacted": redact,
        "setting": _setting,
        "spreads_text": spreads_text,
    }
    html = environment.get_template("report.html.jinja").render(
        study=study.study,
        paragraphs=question_paragraphs(question),
        answer=summary["answer"],
        score=score_in_words(results),
        summary=summary,
        unfinished=not summary["arms"] or any(result.outcome is Outcome.RUNNING for result in results),
        sections=sections(study_dir, results, records, summary, importance(results), study),
        settings_first=study.question == "settings",
        finals=_final_trials(results, summary),
        trials=(trials := choosing_trials(results)),
        setting_keys=sorted({key for result in trials for key in result.trial.settings}),
        failures=[result for result in results if result.outcome is Outcome.FAIL],
        left=[result for result in results if result.outcome is Outcome.RUNNING and result.reason],
        unreadable=unreadable,
        outcomes=[str(outcome) for outcome in Outcome],
        outcome_words={outcome: str(outcome).lower() for outcome in Outcome} | {Outcome.FAIL: "failed"},
        max_rows=MAX_ROWS,
    )
    report = StudyFolder(study_dir).report
    write_atomically(report, html)
    return report


def _final_trials(results: Sequence[TrialResult], summary: Mapping[str, Any]) -> list[TrialResult]:
    """The trials of the final phase, by arm, best first and those that were not scored last, and by seed."""
    ranks = {arm["name"]: rank for rank, arm in enumerate(summary["arms"])}
    final = [result for result in results if result.trial.phase is Phase.FINAL]
    return sorted(final, key=lambda r: (ranks.get(r.trial.arm, len(ranks)), r.trial.arm, r.trial.seed_index))


def _files(study_dir: Path, trial: str) -> list[dict[str, str]]:
    """What there is to open of a trial: names, and addresses relative to the report."""
    folder = StudyFolder(study_dir).trial(trial)
    kinds = {"records": folder.records, "samples": folder.samples, "augmenter": folder.augmenter}
    return [
        {"name": name, "address": quote(file.relative_to(study_dir).as_posix())}
        for name, file in kinds.items()
        if file.is_file()
    ]


def question_paragraphs(text: str) -> list[str]:
    """The paragraphs of a study file's leading comment.

    A blank line or a `Word:` starts a new one; a command, as in `Run: python ...`, is one by itself.
    """
    question = re.sub(r"(?m)^(Run: .*)$", r"\1\n", text).strip().removeprefix("Question:").strip()
    paragraphs = re.split(r"\n\s*\n|\n(?=[A-Z]\w*:\s)", question[:1].upper() + question[1:])
    return [" ".join(paragraph.split()) for paragraph in paragraphs if paragraph.strip()]


def _number(value: float | None, digits: int = 2) -> str:
    return _MISSING if value is None else f"{value:.{digits}f}"


def _setting(value: object) -> str:
    if value is None:
        return _MISSING
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _duration(seconds: float | None) -> str:
    return _MISSING if seconds is None else duration(seconds)
