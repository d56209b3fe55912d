"""Any Parquet file or folder of encoded images and labels, such as those of the Hugging Face Hub."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
import pyarrow.fs as pafs

from dabo_ray.data.hidden import hidden_part
from dabo_ray.data.images import DataError
from dabo_ray.data.labels import Label, are_unlabelled, number_classes, numbering_note
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
    labelled, test, left_out = _divided(filesystem, kinds, root)
    numbers = number_classes(labelled[1], test[1] if test else (), root)

    def part(of: tuple[Table, list[Label]]) -> Encoded:
        return _encoded(of[0], [numbers[label] for label in of[1]])

    infos = [(info.path, info.size, info.mtime_ns or 0) for info in filesystem.get_file_info(files)]
    return Published(
        "the Parquet data set",
        fingerprint(infos),
        len(numbers),
        lambda: (part(labelled), part(test) if test else None),
        streaming=None,
        classes=[*map(str, numbers)],
        notes=[*_notes(kinds, len(every) - len(files), root), *left_out, *numbering_note(numbers, root)],
    )


def _divided(
    filesystem: pafs.FileSystem, kinds: Mapping[str, str | None], root: str
) -> tuple[tuple[Table, list[Label]], tuple[Table, list[Label]] | None, list[str]]:
    """Labelled images, test images if there are any with labels, and lines on splits without."""
    kind = held_out_kind(set(kinds.values()))
    rest = {path: each for path, each in kinds.items() if kind is None or each != kind}
    if not rest:
        raise DataError(f"{root}: all {len(kinds)} Parquet files are of the split {kind}, none is to train on")
    labelled = open_table(filesystem, list(rest))
    if kind is None:
        return labelled, None, []
    test = open_table(filesystem, [path for path in kinds if path not in rest])
    if not are_unlabelled(test[1], labelled[1]):
        return labelled, test, []
    labelled, other, notes = _divided(filesystem, rest, root)
    return labelled, other, [f"{root}: left out the {len(test[1]):,} rows of {kind}, which have no labels", *notes]


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


def _encoded(table: Table, labels: Sequence[int]) -> Encoded:
    group_of = functools.lru_cache(maxsize=4)(table.read_group)

    def read(place: int) -> bytes:
        group = int(np.searchsorted(table.starts, place, side="right")) - 1
        # A missing image is an empty file.
        return group_of(group)[place - table.starts[group]].as_py() or b""

    return Encoded(table.row_names(), labels, read, table=table)
