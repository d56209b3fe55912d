"""Comparison of studies of the same data: their arms side by side, and what differs between the studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from dabo_ray.analysis.results import summarize
from dabo_ray.analysis.statistics import Comparison, compare_same_arms
from dabo_ray.analysis.verdict import p_text
from dabo_ray.analysis.wording import duration, mean_and_interval
from dabo_ray.config.file import read_study
from dabo_ray.config.key_paths import to_dict
from dabo_ray.planning.plan import read_results
from dabo_ray.planning.resume import flat
from dabo_ray.reporting.terminal_table import Justify, make_table, print_table
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import SCORES

NOT_TOLD = ("study", "storage", "database", "tracking.uri", "data.root", "data.cache")
"""Keys in which studies may differ without a difference in what they find."""


def print_comparison(folders: Sequence[Path], provenance: Sequence[Mapping[str, str]], console: Console) -> None:
    """Print how studies compare.

    Args:
        folders: of two studies or more; the first is what the others are compared with.
        provenance: of each.
        console: where to.

    Raises:
        ValueError: a study cannot be read, or they are of different data.
    """
    files = [flat(to_dict(read_study(StudyFolder(folder).study_file))) for folder in folders]
    names = [str(folder) for folder in folders]
    _check_data(names, files, provenance)
    arms = [summarize(str(folder), read_results(folder), None, {})["arms"] for folder in folders]
    _print_differences(names, files, console)
    _print_arms(names, arms, console)
    for name, others in zip(names[1:], arms[1:], strict=True):
        _print_against(names[0], name, compare_same_arms(others, arms[0]), console)


def _check_data(
    names: Sequence[str], files: Sequence[Mapping[str, Any]], provenance: Sequence[Mapping[str, str]]
) -> None:
    for name, file, origin in zip(names[1:], files[1:], provenance[1:], strict=True):
        digests = [each.get("dataset_digest") for each in (provenance[0], origin)]
        sets = [each["data.name"] for each in (files[0], file)]
        if sets[0] != sets[1] or (all(digests) and digests[0] != digests[1]):
            raise ValueError(
                f"{names[0]} and {name} are studies of different data ({sets[0]} and {sets[1]}"
                + (", with other images" if sets[0] == sets[1] else "")
                + "), so their accuracies cannot be compared; give studies of the same data"
            )


def _print_differences(names: Sequence[str], files: Sequence[Mapping[str, Any]], console: Console) -> None:
    keys = sorted({key for file in files for key in file if not key.startswith(NOT_TOLD)})
    differing = [key for key in keys if len({str(file.get(key)) for file in files}) > 1]
    columns: dict[str, Justify] = {"setting": "left", **dict.fromkeys(names, "left")}
    rows = [[key, *(str(file.get(key, "-")) for file in files)] for key in differing]
    if rows:
        print_table(make_table(columns, rows, title="What differs"), console)
        console.print()


def _print_arms(names: Sequence[str], arms: Sequence[Sequence[Mapping[str, Any]]], console: Console) -> None:
    everything = [(name, arm) for name, of_study in zip(names, arms, strict=True) for arm in of_study]
    everything.sort(key=lambda entry: -entry[1]["test_score"]["mean"])
    columns: dict[str, Justify] = {"arm": "left", "study": "left", "seeds": "right", "test %": "right"}
    columns |= {"of": "left", "time": "right"}
    rows = [
        [
            arm["name"],
            name,
            str(len(arm["seeds"])),
            mean_and_interval(arm["test_score"]),
            SCORES[arm["score"]],
            "-" if arm["seconds"] is None else duration(arm["seconds"]),
        ]
        for name, arm in everything
    ]
    print_table(make_table(columns, rows, title="Arms of all studies, mean and 95 % interval"), console)


def _print_against(first: str, other: str, comparisons: Sequence[Comparison], console: Console) -> None:
    console.print()
    if not comparisons:
        console.print(
            f"{other} and {first} have no arm with a seed in common (other seeds follow from another `seed` or "
            "`final.seeds`), so their arms cannot be compared seed by seed.",
            markup=False,
        )
        return
    columns: dict[str, Justify] = {"arm": "left", "difference": "right", "95 % interval": "right", "p": "right"}
    columns |= {"seeds": "right", "verdict": "left"}
    rows = [
        [
            c.arm,
            f"{c.difference:+.2f}",
            "-" if c.low is None or c.high is None else f"{c.low:.2f} to {c.high:.2f}",
            p_text(c.p).removeprefix("p ").removeprefix("= "),
            str(c.seeds),
            str(c.verdict),
        ]
        for c in comparisons
    ]
    print_table(make_table(columns, rows, title=f"{other} against {first}, points on test, seed by seed"), console)
