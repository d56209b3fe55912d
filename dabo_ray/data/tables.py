"""Parquet files as one table of encoded images, on any filesystem that pyarrow knows: local, `s3://`, `gs://`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from dabo_ray.data.images import DataError
from dabo_ray.data.labels import Label, is_plain, is_possible, plain_labels

IMAGE_COLUMNS = ("image", "img", "bytes", "jpg", "png", "image_bytes")
LABEL_COLUMNS = ("label", "labels", "class", "target", "fine_label", "cls")


@dataclass(frozen=True)
class RowGroup:
    """Rows that are read together."""

    file: str
    number: int
    num_rows: int
    size: int = 0
    """In bytes, if known."""


@dataclass(frozen=True)
class Table:
    """Parquet files as one table of encoded images; rows are counted over all files, in the order of their names."""

    filesystem: pafs.FileSystem
    row_groups: Sequence[RowGroup]
    image_column: str

    @functools.cached_property
    def starts(self) -> Any:
        """First row of each row group, and the number of rows."""
        return np.cumsum([0, *(group.num_rows for group in self.row_groups)])

    def row_names(self) -> list[str]:
        """Of all rows, for messages: the row of its file, with the folder that this is in."""
        names, before, last = [], 0, ""
        for group in self.row_groups:
            before = before if group.file == last else 0
            place = "/".join(group.file.rsplit("/", 2)[-2:])
            names += [f"row {before + row} of {place}" for row in range(group.num_rows)]
            before, last = before + group.num_rows, group.file
        return names

    def column(self, name: str, asked_by: str) -> list[Label]:
        """A column of all rows, as whole numbers or text.

        Args:
            name: of the column.
            asked_by: key of the study file that names it, for messages.

        Raises:
            DataError: there is none, or it is of another type.
        """
        values: list[Label] = []
        for path in dict.fromkeys(group.file for group in self.row_groups):
            try:
                with self.filesystem.open_input_file(path) as opened:
                    file = pq.ParquetFile(opened)
                    schema = file.schema_arrow
                    if name not in schema.names:
                        raise DataError(f"{asked_by}: {path} has no column {name}; it has {', '.join(schema.names)}")
                    if not is_possible(schema.field(name).type):
                        raise DataError(
                            f"{asked_by}: the column {name} of {path} is {schema.field(name).type}; name one of whole "
                            "numbers or text"
                        )
                    column = file.read(columns=[name]).column(0)
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{path} cannot be read ({error}); get it again") from None
            values += plain_labels(column, f"{path}, column {name}")
        return values

    def read_group(self, number: int) -> Any:
        """The image files of a row group, an arrow array of binaries.

        Raises:
            DataError: it is damaged or missing.
        """
        group = self.row_groups[number]
        try:
            with self.filesystem.open_input_file(group.file) as file:
                column = pq.ParquetFile(file).read_row_group(group.number, columns=[self.image_column]).column(0)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{group.file} cannot be read ({error}); get it again") from None
        content = column.combine_chunks()
        return content.field("bytes") if pa.types.is_struct(content.type) else content


def filesystem_of(place: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem and the path of a folder or file, local or `s3://`, `gs://`.

    Raises:
        DataError: the address cannot be used.
    """
    try:
        if "://" in place:
            return pafs.FileSystem.from_uri(place)  # type: ignore[no-any-return]
        return pafs.LocalFileSystem(), str(Path(place).absolute())
    except (OSError, pa.ArrowException, ValueError) as error:
        raise DataError(f"{place} cannot be used ({error})") from None


def parquet_files(place: str) -> tuple[pafs.FileSystem, list[str]]:
    """All Parquet files at or below a place.

    Raises:
        DataError: there is none.
    """
    filesystem, path = filesystem_of(place)
    try:
        info = filesystem.get_file_info(path)
        found = [info]
        if info.type == pafs.FileType.Directory:
            found = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    except OSError as error:
        raise DataError(f"{place} cannot be read ({error})") from None
    files = sorted(each.path for each in found if each.is_file and each.path.endswith(".parquet"))
    if not files:
        raise DataError(f"no Parquet found: looked for *.parquet at and below {place}; give data.root")
    return filesystem, files


def open_table(filesystem: pafs.FileSystem, files: Sequence[str]) -> tuple[Table, list[Label]]:
    """The images of files, not read yet, and their labels.

    Raises:
        DataError: a file is damaged, or it is not clear which columns hold images and labels.
    """
    groups: list[RowGroup] = []
    labels: list[Label] = []
    chosen: tuple[str, str] | None = None
    for path in files:
        try:
            with filesystem.open_input_file(path) as opened:
                file = pq.ParquetFile(opened)
                columns = _columns(file.schema_arrow, path)
                column = file.read(columns=[columns[1]]).column(0)
                found = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} cannot be read ({error}); get it again") from None
        if chosen not in (None, columns):
            raise DataError(
                f"{path}: images and labels are in the columns {' and '.join(columns)}, in {files[0]} in "
                f"{' and '.join(chosen or ())}; name them alike in all files"
            )
        chosen = columns
        labels += plain_labels(column, f"{path}, column {columns[1]}")
        groups += [RowGroup(path, number, group.num_rows, group.total_byte_size) for number, group in enumerate(found)]
    return Table(filesystem, groups, chosen[0] if chosen else ""), labels


def _columns(schema: pa.Schema, path: str) -> tuple[str, str]:
    """Names of the columns of image files and of labels."""
    images = [field.name for field in schema if _holds_files(field.type)]
    labels = [field.name for field in schema if is_possible(field.type)]
    # A column that has not the name of labels must look like them.
    plain = [field.name for field in schema if is_plain(field.type)] or labels
    chosen = []
    for wanted, there, likely in ((IMAGE_COLUMNS, images, images), (LABEL_COLUMNS, labels, plain)):
        named = [name for each in wanted for name in there if name.casefold() == each]
        if not named and len(likely) != 1:
            columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
            raise DataError(
                f"{path}: it is not clear which columns hold encoded images (binary) and labels (whole numbers, text, "
                f"bool or categories): found {columns}; name them image and label"
            )
        chosen.append((named or likely)[0])
    return chosen[0], chosen[1]


def _holds_files(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_files(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))
