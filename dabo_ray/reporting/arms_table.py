"""Table of arms that the terminal shows at the end of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from dabo_ray.analysis.wording import mean_and_interval
from dabo_ray.reporting.terminal_table import Justify, make_table, print_table
from dabo_ray.trials import SCORES


def print_arms(summary: Mapping[str, Any], console: Console) -> None:
    """Print the arms of a `summary.json`, best first, and its answer; fits 80 columns."""
    if not summary["arms"]:
        console.print(summary["answer"], markup=False)
        return
    score = SCORES[summary["arms"][0]["score"]]
    columns: dict[str, Justify] = {"arm": "left", "seeds": "right", f"test {score} %": "right"}
    columns |= {"select %": "right", "seconds": "right", "cost": "right"}
    rows = [_cells(arm) for arm in summary["arms"]]
    print_table(make_table(columns, rows, title=f"{summary['study']}: arms"), console)
    console.print("Mean and 95 % interval over seeds; cost: training time over that of none.", style="dim")
    console.print(f"\n{summary['answer']}", markup=False, style="bold")
    for seed in summary["learned_seeds"]:
        if seed["warning"]:
            console.print(seed["warning"], markup=False)
    for sentence in summary["outlying_seeds"]:
        console.print(sentence, markup=False)
    if found := summary["use_this"]:
        _print_use(found, console)


def _print_use(found: Mapping[str, str], console: Console) -> None:
    """The recommendation in a box, and below it the code, which is copied as it stands."""
    words = [f"{found['what']}.", found["certainty"]]
    if not found["code"]:
        words.append("Without its weights there is nothing to take along; a study that is run anew keeps them.")
    text = Text("\n".join(words))
    console.print()
    console.print(Panel(text, title=Text(f"Use this: {found['arm']}"), title_align="left", expand=False))
    if found["file"]:
        console.print(f"File: {found['file']}", markup=False, soft_wrap=True)
    if found["code"]:
        console.print("In a training script:\n", markup=False)
        console.print(found["code"], markup=False, soft_wrap=True)


def _cells(arm: Mapping[str, Any]) -> list[str]:
    test = arm["test_score"]
    return [
        arm["name"],
        str(len(test["values"])),
        mean_and_interval(test),
        _number(arm["select_score"], ".2f"),
        _number(arm["seconds"], ".1f"),
        _number(arm["cost_ratio"], ".2f", "x"),
    ]


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"
