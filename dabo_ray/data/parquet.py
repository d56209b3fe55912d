"""Any Parquet file or folder of encoded images and labels, such as those of the Hugging Face Hub."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from dabo_ray.data.hidden import hidden_part
from dabo_ray.data.images import DataError
from dabo_ray.data.layout import held_out_kind
from dabo_ray.data.published import Encoded, Published, fingerprint
from dabo_ray.data.split_names import TRAIN, SplitName, split_name
from dabo_ray.data.tables import Table, filesystem_of, open_table, parquet_files


def parquet(root: str) -> Published:
    """Splits have their usual names in any case, see `split_names`, as a folder or in the name of the file.

    The test set is test, else eval, else val; all other files hold the labelled images.

    Raises:
        DataError: there is no file to train on, or labels or columns cannot be used.
    """
    filesystem, every = parquet_files(root)
    base = filesystem_of(root)[1]
    files = [path for path in every if hidden_part(path.removeprefix(base)) is None]
    if not files:
        raise DataError(f"{root}: all {len(every)} Parquet files are hidden by their names; rename them")
    kinds = _kinds(files, base)
    test_kind = held_out_kind(set(kinds.values()))
    test = [path for path in files if test_kind is not None and kinds[path] == test_kind]
    labelled = [path for path in files if path not in test]
    if not labelled:
        raise DataError(f"{root}: all {len(files)} Parquet files are of the split {test_kind}, none is to train on")
    tables = [open_table(filesystem, part) if part else None for part in (labelled, test)]
    assert tables[0] is not None
    every_label = [label for table in tables if table for label in table[1].unique().to_pylist()]
    numbers = _numbers(every_label, root)

    def part(table: tuple[Table, pa.ChunkedArray] | None) -> Encoded | None:
        return None if table is None else _encoded(table[0], [numbers[label] for label in table[1].to_pylist()])

    encoded = part(tables[0])
    assert encoded is not None
    infos = [(info.path, info.size, info.mtime_ns or 0) for info in filesystem.get_file_info(files)]
    return Published(
        "the Parquet data set",
        fingerprint(infos),
        len(numbers),
        lambda: (encoded, part(tables[1])),
        streaming=None,
        notes=_notes(kinds, len(every) - len(files), root),
    )


def _kinds(files: Sequence[str], base: str) -> dict[str, str | None]:
    """File -> kind of its split: of its name, else of the nearest folder below the root; None: not said."""
    found = {}
    for path in files:
        *folders, file = PurePosixPath(path.removeprefix(base)).parts or ("",)
        found[path] = [_split(file, is_file=True), *(_split(folder, is_file=False) for folder in reversed(folders))]
    every = [split for splits in found.values() for split in splits if split]
    kinds_of = {rest: {split.kind for split in every if split.rest == rest} for rest in {split.rest for split in every}}

    def is_sure(split: SplitName) -> bool:
        return split.is_plain or split.is_first or (TRAIN in kinds_of[split.rest] and len(kinds_of[split.rest]) > 1)

    return {path: next((s.kind for s in splits if s and is_sure(s)), None) for path, splits in found.items()}


def _split(part: str, *, is_file: bool) -> SplitName | None:
    found = split_name(PurePosixPath(part).stem if is_file else part)
    # Only of a file: train-easy.parquet is for training, a folder train_station need not be.
    return found if found is None or is_file else found._replace(is_first=False)


def _notes(kinds: Mapping[str, str | None], num_hidden: int, root: str) -> list[str]:
    hidden = [f"{root}: skipped {num_hidden} hidden Parquet files"] if num_hidden else []
    if set(kinds.values()) == {None}:
        return hidden
    counts = Counter(kind or "no split, so for training" for kind in kinds.values())
    line = f"{root}: Parquet files of " + ", ".join(f"{kind} ({num:,})" for kind, num in sorted(counts.items()))
    return [line, *hidden]


def _numbers(labels: Sequence[Any], root: str) -> dict[Any, int]:
    """Label -> number of the class; texts are counted in their order, numbers must run from 0."""
    if None in labels:
        raise DataError(f"{root}: rows without a label; take them out")
    if all(isinstance(label, int) for label in labels):
        if min(labels) != 0 or max(labels) + 1 != len(set(labels)):
            raise DataError(
                f"{root}: labels must run from 0 to the number of classes less 1, found {len(set(labels))} from "
                f"{min(labels)} to {max(labels)}"
            )
        return {label: label for label in labels}
    return {label: number for number, label in enumerate(sorted(set(labels)))}


def _encoded(table: Table, labels: Sequence[int]) -> Encoded:
    group_of = functools.lru_cache(maxsize=4)(table.read_group)

    def read(place: int) -> bytes:
        group = int(np.searchsorted(table.starts, place, side="right")) - 1
        # A missing image is an empty file.
        return group_of(group)[place - table.starts[group]].as_py() or b""

    return Encoded(table.row_names(), labels, read, table=table)
