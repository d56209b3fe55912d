"""Labels as they are found in tables: of many types, with gaps, from 1 on, missing; as classes from 0 on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as kinds

from dabo_ray.data.images import DataError
from dabo_ray.data.wording import listed, unknown_classes

Label = int | str | None
"""None: there is none."""

UNLABELLED = (None, -1)
"""What stands for a label that is not known."""


def is_plain(kind: pa.DataType) -> bool:
    """Whether a column looks like labels: whole numbers or text."""
    return bool(kinds.is_integer(kind) or _is_text(kind))


def is_possible(kind: pa.DataType) -> bool:
    """Whether a column can be read as labels: of bool and float, too, and of categories."""
    if kinds.is_dictionary(kind):
        return is_possible(kind.value_type)
    return is_plain(kind) or bool(kinds.is_boolean(kind) or kinds.is_floating(kind) or kinds.is_null(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind))


def plain_labels(column: pa.ChunkedArray, where: str) -> list[Label]:
    """A column as whole numbers or text; false is 0, and NaN no label.

    Raises:
        DataError: a number is not whole.
    """
    values = column.to_pylist()
    kind = column.type.value_type if kinds.is_dictionary(column.type) else column.type
    if kinds.is_boolean(kind):
        return [None if value is None else int(value) for value in values]
    if not kinds.is_floating(kind):
        return values  # type: ignore[no-any-return]
    values = [None if value is None or math.isnan(value) else value for value in values]
    if broken := [value for value in values if value is not None and value != round(value)]:
        raise DataError(f"{where}: labels are classes, and {broken[0]:g} is not a whole number; write whole numbers")
    return [None if value is None else int(value) for value in values]


def are_unlabelled(test: Sequence[Label], labelled: Sequence[Label]) -> bool:
    """Whether a split has no labels: none at all, or -1 where this is no class of the labelled images."""
    return {*test} <= {*UNLABELLED} and not {*test} & {*labelled} - {None}


def number_classes(labelled: Sequence[Label], test: Sequence[Label], where: str) -> dict[Label, int]:
    """Label -> number of its class, from 0 in the order of the labels.

    Raises:
        DataError: labels are missing or no classes, there is one class, or test has a class of its own.
    """
    for part, labels in (("to train on", labelled), ("of the test set", test)):
        counts = Counter(labels)
        missing = counts[None] + (counts[-1] if 0 in counts or -1 not in labelled else 0)
        if missing:
            raise DataError(
                f"{where}: {missing:,} of {len(labels):,} rows {part} have no label (null, NaN, or -1 beside 0); take "
                "them out, or count the classes from 0 if -1 is one"
            )
    classes: set[Any] = {*labelled}
    if len({type(label) for label in {*labelled, *test}}) > 1:
        raise DataError(f"{where}: some labels are numbers and others text; write all of them alike")
    if len(classes) < 2:
        raise DataError(f"{where}: all labels are {_listed(classes)}; a data set needs two classes or more")
    if len(classes) > max(20, len(labelled) / 2):
        raise DataError(
            f"{where}: {len(classes):,} labels that differ in {len(labelled):,} rows are no classes "
            f"({_listed(classes)}); name the column of the classes label"
        )
    unknown: set[Any] = {*test} - classes
    if unknown:
        raise unknown_classes(sorted(unknown), sorted(classes), where)
    return {label: number for number, label in enumerate(sorted(classes))}


def numbering_note(numbers: dict[Label, int], where: str) -> list[str]:
    """A line if numbers are counted in another way than they are written."""
    if all(label == number or isinstance(label, str) for label, number in numbers.items()):
        return []
    return [f"{where}: labels {_listed(numbers)} are the classes 0 to {len(numbers) - 1}, in this order"]


def _listed(labels: Any) -> str:
    return listed(sorted(labels))
