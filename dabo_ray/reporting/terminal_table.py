"""Plain tables for the terminal, and for files and pipes, where no line is folded or cut."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

Justify = Literal["left", "right"]


def make_table(columns: Mapping[str, Justify], rows: Iterable[Sequence[str]], *, title: str | None = None) -> Table:
    """A table without lines; cells are shown as they are, whatever brackets they hold.

    Args:
        columns: heading -> how its cells are aligned; without a text in any heading there is no line of them.
        rows: a cell for each column.
        title: stands above.
    """
    has_headings = any(heading.strip() for heading in columns)
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1), pad_edge=False, show_header=has_headings)
    for heading, justify in columns.items():
        table.add_column(Text(heading), justify=justify, overflow="fold", no_wrap=justify == "right")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def as_text(table: Table) -> str:
    """The table in as many columns of the terminal as it needs, without colours."""
    console = Console(file=io.StringIO(), color_system=None, width=1_000_000)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def print_table(table: Table, console: Console) -> None:
    """Prints a table, folded to the width of a terminal and whole anywhere else."""
    if console.is_terminal:
        console.print(table)
    else:
        console.print(as_text(table), soft_wrap=True, markup=False, highlight=False)
