"""Table of arms that the terminal shows at the end of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_arms(summary: Mapping[str, Any], console: Console) -> None:
    """Print the arms of a `summary.json`, best first, and its answer; fits 80 columns."""
    if not summary["arms"]:
        console.print(summary["answer"], markup=False)
        return
    plus_minus = "±" if console.encoding.startswith("utf") else "+/-"
    table = Table(title=f"{summary['study']}: arms", title_justify="left", box=None, padding=(0, 1), pad_edge=False)
    table.add_column("arm", overflow="fold")
    table.add_column("seeds", justify="right")
    table.add_column("test accuracy %", justify="right", style="bold", no_wrap=True)
    for name in ("select %", "seconds", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for arm in summary["arms"]:
        test = arm["test_accuracy"]
        interval = "" if test["ci95"] is None else f" {plus_minus} {test['ci95']:.2f}"
        table.add_row(
            Text(arm["name"]),
            str(len(test["values"])),
            f"{test['mean']:.2f}{interval}",
            _number(arm["select_accuracy"], ".2f"),
            _number(arm["seconds"], ".1f"),
            _number(arm["cost_ratio"], ".2f", "x"),
        )
    console.print(table)
    console.print("Mean and 95 % interval over seeds; cost: training time over that of none.", style="dim")
    console.print(f"\n{summary['answer']}", markup=False, style="bold")


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"
