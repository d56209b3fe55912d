"""Description of a study for the page of its run in MLflow: a text in Markdown, and a few numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dabo_ray.analysis.verdict import p_text
from dabo_ray.analysis.wording import duration, mean_and_interval
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import SCORES


def headline_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """The few numbers of a study; names with a slash stand under one heading in MLflow."""
    metrics = {f"test_{arm['score']}/{arm['name']}": float(arm["test_score"]["mean"]) for arm in summary["arms"]}
    return metrics if summary["wall_seconds"] is None else {**metrics, "wall_seconds": summary["wall_seconds"]}


def links(pages: Mapping[str, str]) -> str:
    """A line of links: names and addresses."""
    return " \N{MIDDLE DOT} ".join(f"[{name}]({address})" for name, address in pages.items())


def markdown(question: str, summary: Mapping[str, Any], pages: Mapping[str, str], study_dir: Path) -> str:
    """Answer, links, recommendation, question, arms and comparisons of a study, and where its report is.

    The answer and the links come first, because MLflow shows no more than the first lines unless it is asked to.
    """
    answer = f"**{plain(summary['answer'])}**"
    parts = [answer, links(pages), _use(summary["use_this"]), question.strip(), _arms(summary), _comparisons(summary)]
    parts += [plain(seed["warning"]) for seed in summary["learned_seeds"] if seed["warning"]]
    parts += map(plain, summary["outlying_seeds"])
    if summary["budget"]:
        parts.append(f"Ended early by its budget: {plain(summary['budget'])}.")
    files = StudyFolder(study_dir)
    parts.append(
        f"The whole report is the artifact `{files.report.name}` of this run, and `{files.report}`; "
        f"`{files.summary.name}`, `{files.results_csv.name}` and `{files.results_parquet.name}` beside it have every "
        "number. "
        f"Written again at any time: `python -m dabo_ray.report {study_dir}`."
    )
    parts.append("A trial that failed or was pruned says why in its own description.")
    return "\n\n".join(part for part in parts if part)


def _use(found: Mapping[str, str] | None) -> str:
    """The recommended arm, how sure it is, and the code, as a block."""
    if found is None:
        return ""
    words = f"**Use this: {plain(found['arm'])}.** {plain(found['what'])}. {plain(found['certainty'])}"
    return f"{words}\n\n```python\n{found['code']}\n```" if found["code"] else words


def _arms(summary: Mapping[str, Any]) -> str:
    if not summary["arms"]:
        return ""
    score = SCORES[summary["arms"][0]["score"]]
    lines = [f"| arm | test {score} (%), 95 % interval | seeds | time of a seed | cost |", "|---|---|---|---|---|"]
    for arm in summary["arms"]:
        seconds = "" if arm["seconds"] is None else duration(arm["seconds"])
        cost = "" if arm["cost_ratio"] is None else f"{arm['cost_ratio']:.2f}"
        name = plain(arm["name"])
        lines.append(f"| {name} | {mean_and_interval(arm['test_score'])} | {len(arm['seeds'])} | {seconds} | {cost} |")
    return "\n".join(lines)


def _comparisons(summary: Mapping[str, Any]) -> str:
    lines = []
    for c in summary["comparisons"]:
        against = c["against"] if c["against"] == c["reference"] else f"the {c['against']}, {c['reference']}"
        difference = f"{c['difference']:+.2f} points, {p_text(c['p'])}"
        lines.append(f"- {plain(c['arm'])} against {plain(against)}: {difference}, {c['verdict']}")
    return "\n".join(lines)


def plain(text: str) -> str:
    """The text without what Markdown would take for its own."""
    return "".join(f"\\{letter}" if letter in "\\`*_|<>[]#" else letter for letter in text)
