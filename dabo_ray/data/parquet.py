"""Any Parquet file or folder of encoded images and labels, such as those of the Hugging Face Hub."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dabo_ray.data.images import DataError
from dabo_ray.data.published import Encoded, Published, fingerprint
from dabo_ray.data.tables import Table, open_table, parquet_files


def parquet(root: str) -> Published:
    """Files named test* are the test set, else validation* or val*; all others hold the labelled images."""
    filesystem, files = parquet_files(root)
    heads = {path: path.rsplit("/", 1)[-1] for path in files}
    test = [path for path in files if heads[path].startswith("test")]
    test = test or [path for path in files if heads[path].startswith("val")]
    labelled = [path for path in files if path not in test]
    if not labelled:
        raise DataError(f"{root}: all Parquet files are named test* or val*; there is none to train on")
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
        "the Parquet data set", fingerprint(infos), len(numbers), lambda: (encoded, part(tables[1])), streaming=None
    )


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
        return group_of(group)[place - table.starts[group]].as_py()  # type: ignore[no-any-return]

    return Encoded([f"row {row}" for row in range(len(labels))], labels, read, table=table)
