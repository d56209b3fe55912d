"""Groups of images that no split may divide, such as those of a patient: of a column, a CSV or the files' names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import torch

from dabo_ray.data.arrow import Cached
from dabo_ray.data.csv_rows import csv_rows
from dabo_ray.data.images import DataError, Images
from dabo_ray.data.published import Encoded, Published
from dabo_ray.data.wording import listed

NAMED = 20
"""Files without a group that a message names; of others there is the number."""

COLUMNS = ("file", "group")
"""Of a CSV, if its first line has these; otherwise the first two are meant, and every line is of an image."""

Group = str | int


def grouped(found: Cached, published: Published, groups: str, root: str) -> Cached:
    """The images of a data set with the numbers of their groups, which training and test images share.

    Args:
        found: the images; the groups are no part of their cache, so that others need no conversion.
        published: their files.
        groups: name of a column of Parquet or of the CSV that names the images; for files by name, a CSV (`*.csv`) of
            file and group, or a regular expression that is searched in the path below the root and whose one `(...)` is
            the group.
        root: of the data set.

    Raises:
        DataError: an image has no group, or the groups cannot be read.
    """
    labelled, test = published.parts()
    if not isinstance(labelled, Encoded) or isinstance(test, Images):
        raise DataError(
            f"data.groups is for data sets of image files and Parquet, not for {published.title}; remove it"
        )
    parts = [part for part in (labelled, test) if part is not None]
    names = [name for part in parts for name in part.names]
    if labelled.table is not None:
        every = _of_column(groups, parts, names)
    elif labelled.columns is not None and not groups.lower().endswith(".csv") and "(" not in groups:
        every = _of_csv_column(groups, parts, names)
    elif groups.lower().endswith(".csv"):
        of_name = _of_csv(Path(groups), [*dict.fromkeys(names)], root)
        every = [of_name[name] for name in names]
    else:
        every = _of_pattern(groups, names)
    numbers = {group: number for number, group in enumerate(dict.fromkeys(every))}
    of_labelled = [numbers[group] for group in every[: len(labelled)]]
    if labelled.table is None and found.names is not None:
        # Shards have another order.
        by_name = dict(zip(labelled.names, of_labelled, strict=True))
        of_labelled = [by_name[name] for name in found.names]
    of_test = [numbers[group] for group in every[len(labelled) :]]
    return replace(
        found,
        labelled=replace(found.labelled, groups=torch.tensor(of_labelled)),
        test=None if found.test is None else replace(found.test, groups=torch.tensor(of_test)),
    )


def group_notes(labelled: Images, test: Images | None) -> list[str]:
    """Lines on how many groups there are, and on those that are trained on and tested."""
    if labelled.groups is None:
        return []
    trained = torch.unique(labelled.groups)
    notes = [f"data.groups: {len(labelled):,} labelled images in {len(trained):,} groups"]
    if len(trained) == len(labelled):
        notes[0] += "; every image is one by itself, as if there were none"
    if test is not None and test.groups is not None:
        known = torch.isin(test.groups, trained)
        if num := int(known.sum()):
            notes.append(
                f"data.groups: warning: {len(torch.unique(test.groups[known])):,} groups of {num:,} of the "
                f"{len(test):,} test images are among the labelled images too, so test may look better than new groups "
                "would; take them out of one of the two"
            )
    return notes


def _of_column(column: str, parts: Sequence[Encoded], names: Sequence[str]) -> list[Group]:
    every = [group for part in parts if part.table for group in part.table.column(column, "data.groups")]
    if missing := [name for name, group in zip(names, every, strict=True) if group in (None, "")]:
        raise DataError(
            f"data.groups: the column {column} is empty in {len(missing):,} of {len(names):,} rows: "
            f"{listed(missing)}; fill it in, or take them out"
        )
    return [group for group in every if group is not None]


def _of_csv_column(column: str, parts: Sequence[Encoded], names: Sequence[str]) -> list[Group]:
    known = parts[0].columns or {}
    if column.casefold() not in known:
        raise DataError(
            f"data.groups: the CSV has no column {column}; beside file, label and split it has "
            f"{', '.join(known) or 'none'}"
        )
    every = [group for part in parts if part.columns for group in part.columns[column.casefold()]]
    if missing := [name for name, group in zip(names, every, strict=True) if not group]:
        raise DataError(
            f"data.groups: the column {column} is empty for {len(missing):,} of {len(names):,} images: "
            f"{listed(missing)}; fill it in, or take them out"
        )
    return [*every]


def _of_pattern(pattern: str, names: Sequence[str]) -> list[Group]:
    matches = [re.search(pattern, name) for name in names]
    if missing := [name for name, match in zip(names, matches, strict=True) if not match or not match[1]]:
        raise DataError(
            f"data.groups: the pattern {pattern} does not match {len(missing):,} of {len(names):,} images: "
            f"{listed([*dict.fromkeys(missing)])}; it is searched in paths such as {names[0]}"
        )
    return [match[1] for match in matches if match]


def _of_csv(file: Path, names: Sequence[str], root: str) -> dict[str, Group]:
    """Name of an image -> its group. A line may have the path below the root, or a name that only one image has."""
    found: dict[str, Group] = {}
    images_of = _ways_to_say(names)
    for line, (said, group) in _lines(file, COLUMNS):
        path = PurePosixPath(said.replace("\\", "/").removeprefix(f"{root}/"))
        images = images_of.get(str(path), [])
        if len(images) > 1:
            raise DataError(f"{file}, line {line}: {said} may be {listed(images)}; write the path below {root}")
        for name in images:
            if group and found.setdefault(name, group) != group:
                raise DataError(f"{file}, line {line}: {name} is in the groups {found[name]} and {group}; keep one")
    if missing := [name for name in names if name not in found]:
        more = f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
        raise DataError(
            f"{file} gives {len(missing):,} of {len(names):,} images no group: {', '.join(missing[:NAMED])}{more}; add "
            f"lines file,group with paths below {root}"
        )
    return found


def _ways_to_say(names: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """What a line may say -> images: their paths, else their names, else these without a suffix."""
    ways: dict[str, Sequence[str]] = {name: [name] for name in names}
    for part in ("name", "stem"):
        shorter = defaultdict(list)
        for name in names:
            shorter[getattr(PurePosixPath(name), part)].append(name)
        ways = shorter | ways
    return ways


def _lines(file: Path, columns: tuple[str, str]) -> list[tuple[int, tuple[str, str]]]:
    """Pairs of two columns with the numbers of their lines."""
    rows = csv_rows(file, columns)
    head = [cell.casefold() for cell in rows[0][1]] if rows else []
    places = [head.index(column) for column in columns] if {*columns} <= {*head} else None
    if places is not None:
        rows = rows[1:]
    first, second = places or (0, 1)
    if short := [line for line, row in rows if len(row) <= max(first, second)]:
        raise DataError(f"{file}, line {short[0]}: has too few columns; lines must be {','.join(columns)}")
    return [(line, (row[first], row[second])) for line, row in rows]
