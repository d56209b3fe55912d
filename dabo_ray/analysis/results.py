"""Results of a study: the summary of its arms, and a table with a row per trial."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from dabo_ray.analysis.convergence import learned_seeds
from dabo_ray.analysis.effects import interplay, setting_effects, settings_answer
from dabo_ray.analysis.outlying import outlying_seeds
from dabo_ray.analysis.statistics import BASIS_ARM, compare, half_width_95
from dabo_ray.analysis.trial_metrics import metric, score_in_words, select_score
from dabo_ray.analysis.verdict import answer, headline
from dabo_ray.storage.atomic import replacing, write_atomically
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult

_COLUMNS = pa.schema(
    [
        ("name", pa.string()),
        ("phase", pa.string()),
        ("arm", pa.string()),
        ("method", pa.string()),
        ("seed", pa.int64()),
        ("epochs", pa.int64()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
    ]
)


def summarize(
    study: str,
    results: Sequence[TrialResult],
    wall_seconds: float | None,
    provenance: Mapping[str, str],
    *,
    budget: str = "",
    question: str = "augmentation",
) -> dict[str, Any]:
    """What the study found, as JSON values: the content of `summary.json`.

    Returns:
        A dictionary of
        `study`: its name;
        `answer`: a sentence, see `verdict.answer`, or `effects.settings_answer` where settings are the `question`;
        `verdict`: `better`, `worse` or `cannot be told apart`, the learned arm with the best test mean against the best
        baseline; None if there are no two to compare;
        `phases`: the number of trials of every phase by outcome, zeros included;
        `arms`: what the final phase scored on test, best mean first. A seed counts when it is complete and has a test
        score, so an arm may have fewer seeds than planned, and an arm without any is left out. Each has `name`,
        `method`, `settings`, `trials`, `seeds`, `score` (what it is judged by), `test_score` (`mean`, `ci95`: half the
        width of the t-interval, `values`; percent), `select_score` of the trial it repeats,
        mean `seconds` of training, `cost_ratio`: these over those of the arm `none`, and `use_ratio`: the same without
        what learning the augmentation of a frozen arm took; trials, seeds and values are in the order of the seeds;
        `best`: the name of the first arm, None before any final trial is complete;
        `use_this`: the recommendation, see `reporting.use_this`, by who knows the study's file and folder, else None;
        `comparisons`: see `statistics.Comparison`;
        `settings`, `interplay`: see `effects.Effect` and `effects.Interplay`, from the trials of the search;
        `outlying_seeds`: sentences, see `outlying.outlying_seeds`;
        `learned_seeds`: how the learning of each seed ended, see `convergence.LearnedSeed`;
        `training_seconds`: time that the trials of each phase trained, together;
        `budget`: which limit of the budget ended the study early, empty if none did;
        `wall_seconds`: time that the study ran, over all its starts;
        `provenance`: code, versions, hardware, command.
    """
    arms = _arms(results)
    comparisons = compare(arms)
    found = headline(arms, comparisons)
    score = score_in_words(results)
    effects, pairs = ([asdict(each) for each in of(results)] for of in (setting_effects, interplay))
    return {
        "study": study,
        "answer": answer(arms, comparisons) if question == "augmentation" else settings_answer(effects, pairs, score),
        "verdict": str(found.verdict) if found else None,
        "phases": _phases(results),
        "arms": arms,
        "best": arms[0]["name"] if arms else None,
        "use_this": None,
        "comparisons": [{**asdict(comparison), "verdict": str(comparison.verdict)} for comparison in comparisons],
        "settings": effects,
        "interplay": pairs,
        "outlying_seeds": outlying_seeds(arms),
        "learned_seeds": [asdict(seed) for seed in learned_seeds(results)],
        "training_seconds": _training_seconds(results),
        "budget": budget,
        "wall_seconds": wall_seconds,
        "provenance": dict(provenance),
    }


def _training_seconds(results: Sequence[TrialResult]) -> dict[str, float]:
    """Time that the trials of each phase trained, together."""
    spent = dict.fromkeys(map(str, Phase), 0.0)
    for result in results:
        # A frozen trial's time has that of the trial which learned its distribution in it; that is counted there.
        seconds = (metric(result, "seconds") or 0.0) - (metric(result, "learning_seconds") or 0.0)
        spent[str(result.trial.phase)] += seconds
    return spent


def _phases(results: Sequence[TrialResult]) -> dict[str, dict[str, int]]:
    counts = Counter((result.trial.phase, result.outcome) for result in results)
    return {str(phase): {str(outcome): counts[phase, outcome] for outcome in Outcome} for phase in Phase}


def _arms(results: Sequence[TrialResult]) -> list[dict[str, Any]]:
    by_name = {result.trial.name: result for result in results}
    scored: defaultdict[str, list[TrialResult]] = defaultdict(list)
    for result in results:
        complete = result.trial.phase is Phase.FINAL and result.outcome is Outcome.COMPLETE
        if complete and metric(result, result.trial.test_metric) is not None:
            scored[result.trial.arm].append(result)
    basis_seconds = _mean_seconds(scored.get(BASIS_ARM, []))
    arms = [_arm(name, members, by_name, basis_seconds) for name, members in scored.items()]
    return sorted(arms, key=lambda arm: (-arm["test_score"]["mean"], arm["name"]))


def _arm(
    name: str, members: Sequence[TrialResult], by_name: Mapping[str, TrialResult], basis_seconds: float | None
) -> dict[str, Any]:
    members = sorted(members, key=lambda member: (member.trial.seed_index, member.trial.seed))
    trial = members[0].trial
    scores = [member.metrics[trial.test_metric] for member in members]
    seconds = _mean_seconds(members)
    learning = [metric(member, "learning_seconds") or 0.0 for member in members]
    use_seconds = None if seconds is None else seconds - float(np.mean(learning))
    return {
        "name": name,
        "method": trial.method,
        "settings": dict(trial.settings),
        "trials": [member.trial.name for member in members],
        "seeds": [member.trial.seed for member in members],
        "score": trial.score,
        "test_score": {
            "mean": float(np.mean(scores)),
            "ci95": half_width_95(scores),
            "values": list(map(float, scores)),
        },
        "select_score": _select_score(trial, by_name),
        "seconds": seconds,
        "cost_ratio": seconds / basis_seconds if seconds is not None and basis_seconds else None,
        "use_ratio": use_seconds / basis_seconds if use_seconds is not None and basis_seconds else None,
    }


def _select_score(trial: Trial, by_name: Mapping[str, TrialResult]) -> float | None:
    """What the trial that chose this setting reached; a frozen trial repeats one that repeats it."""
    while trial.origin is not None and trial.origin in by_name:
        origin = by_name[trial.origin]
        if (score := select_score(origin)) is not None:
            return score
        trial = origin.trial
    return None


def _mean_seconds(members: Sequence[TrialResult]) -> float | None:
    seconds = [value for member in members if (value := metric(member, "seconds")) is not None]
    return float(np.mean(seconds)) if seconds else None


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write `summary.json` into a study's folder."""
    text = json.dumps(summary, indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(StudyFolder(folder).summary, text + "\n")


def write_results(folder: Path, results: Sequence[TrialResult]) -> None:
    """Write `results.parquet` and `results.csv` into a study's folder, one row per trial.

    A column for each setting, and one for each metric of the last epoch: what was learned, memory, whatever there is.
    """
    table = results_table(results)
    files = StudyFolder(folder)
    with replacing(files.results_parquet) as path:
        pyarrow.parquet.write_table(table, path)
    with replacing(files.results_csv) as path:
        pyarrow.csv.write_csv(table, path)


def results_table(results: Sequence[TrialResult]) -> pa.Table:
    """A row per trial, see `write_results`."""
    rows = [
        {
            "name": result.trial.name,
            "phase": str(result.trial.phase),
            "arm": result.trial.arm,
            "method": result.trial.method,
            "seed": result.trial.seed,
            "epochs": result.trial.epochs,
            "outcome": str(result.outcome),
            "reason": result.reason,
        }
        for result in results
    ]
    table = pa.Table.from_pylist(rows, schema=_COLUMNS)
    judged_by = dict.fromkeys(name for r in results for name in (r.trial.select_metric, r.trial.test_metric))
    for name in (*judged_by, "seconds"):
        table = _with_metric(table, results, name)
    for key in sorted({key for result in results for key in result.trial.settings}):
        # A searched `seed` must not pass for the trial's own.
        name = f"settings.{key}" if key in _COLUMNS.names else key
        table = table.append_column(name, _setting_column([result.trial.settings.get(key) for result in results]))
    for name in sorted({name for result in results for name in result.metrics} - set(table.column_names)):
        table = _with_metric(table, results, name)
    return table


def _with_metric(table: pa.Table, results: Sequence[TrialResult], name: str) -> pa.Table:
    return table.append_column(name, pa.array([metric(result, name) for result in results], pa.float64()))


def _setting_column(values: Sequence[Any]) -> pa.Array:
    """A column of the values' own type; values of several types, and lists, become JSON text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pa.array(values, pa.float64())
    if len(kinds) == 1 and kinds <= {bool, int, float, str}:
        return pa.array(values)
    return pa.array([None if value is None else json.dumps(value) for value in values], pa.string())
