"""Rows of a CSV, with the numbers of their lines for messages."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from dabo_ray.data.images import DataError

Row = tuple[int, list[str]]
"""Number of the line, and its cells without the spaces around them."""


def csv_rows(file: Path, columns: Sequence[str]) -> list[Row]:
    """All lines that are not empty, the first one too.

    Args:
        file: a CSV in UTF-8, with commas.
        columns: that it should have, for messages.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.reader(opened)
            return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read ({error}); it must be a CSV with lines {','.join(columns)}") from None
