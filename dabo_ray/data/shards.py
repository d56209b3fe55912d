"""The cache of a data set that stays encoded: Parquet shards in a random order, on any filesystem of pyarrow."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.ipc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from dabo_ray.data.arrow import Cached
from dabo_ray.data.decode import Decoder
from dabo_ray.data.images import DataError, Images
from dabo_ray.data.in_place import in_place
from dabo_ray.data.inspection import Inspection
from dabo_ray.data.locks import locked
from dabo_ray.data.published import Encoded, Progress, Published, silent
from dabo_ray.data.stream import Shards
from dabo_ray.data.tables import RowGroup, Table, filesystem_of

FORMAT = 2
ROW_GROUP_BYTES, SHARD_BYTES = 4 * 2**20, 256 * 2**20
INDEX = "index.arrow"
"""Labels and layout of all shards; written last, so that a folder without one is no cache."""

_META = b"dabo_ray"


def streamed(published: Published, place: str, decoder: Decoder, progress: Progress = silent) -> Cached:
    """A data set through its shards, which are made if they are missing or of older files.

    A data set that is published as Parquet is read where it lies.

    Args:
        published: its images must be files.
        place: folder or URI of the shards.
        decoder: of the images when they are read.
        progress: told how far a conversion is.

    Raises:
        DataError: the published files are damaged, or the shards cannot be written.
    """
    filesystem, folder = filesystem_of(place)
    found = _open(filesystem, folder, published.fingerprint, decoder)
    if found is not None:
        return found
    labelled, test = published.parts()
    if not isinstance(labelled, Encoded) or isinstance(test, Images):
        raise DataError(
            f"{published.title} is not published as image files and cannot be streamed; set data.streaming to never"
        )
    if labelled.table is not None:
        note = filesystem, f"{folder}.json"
        return in_place(published, labelled, test, decoder, note, _lock(filesystem, folder), progress)
    with locked(_lock(filesystem, folder)):
        found = _open(filesystem, folder, published.fingerprint, decoder)
        if found is None:
            try:
                _write(filesystem, folder, published, (labelled, test), decoder, progress)
            except DataError:
                filesystem.delete_dir(folder)
                raise
            except OSError as error:
                raise DataError(f"the cache {place} cannot be written ({error}); make room or set data.cache") from None
            found = _open(filesystem, folder, published.fingerprint, decoder)
    if found is None:
        raise DataError(f"the cache {place} cannot be read after it was written; look at the disk, or set data.cache")
    return found


def _lock(filesystem: pafs.FileSystem, folder: str) -> Path:
    return Path(folder) if isinstance(filesystem, pafs.LocalFileSystem) else Path.home() / ".cache" / Path(folder).name


def _write(
    filesystem: pafs.FileSystem,
    folder: str,
    published: Published,
    parts: tuple[Encoded, Encoded | None],
    decoder: Decoder,
    progress: Progress,
) -> None:
    filesystem.create_dir(folder, recursive=True)
    filesystem.delete_dir_contents(folder)
    columns: dict[str, list[object]] = {"part": [], "label": [], "group": [], "name": []}
    layout: list[tuple[str, int, int]] = []
    inspection = Inspection(decoder)
    for number, part in enumerate(each for each in parts if each is not None):
        order = _mixed(part) if number == 0 else list(range(len(part)))
        for name, row_groups in _write_shards(filesystem, f"{folder}/{number}", part, order, inspection, progress):
            layout += [(name, group, rows) for group, rows in enumerate(row_groups)]
        columns["part"] += [number] * len(part)
        columns["label"] += [part.labels[place] for place in order]
        columns["group"] += [None if part.wholes is None else part.wholes[place] for place in order]
        columns["name"] += [part.names[place] for place in order]
    meta = {
        "format": FORMAT,
        "fingerprint": published.fingerprint,
        "num_classes": published.num_classes,
        "shape": inspection.shape,
        "layout": layout,
    }
    kinds = (pa.int8(), pa.int64(), pa.int64(), pa.string())
    arrays = [pa.array(values, kind) for values, kind in zip(columns.values(), kinds, strict=True)]
    batch = pa.RecordBatch.from_arrays(arrays, list(columns)).replace_schema_metadata({_META: json.dumps(meta)})
    with filesystem.open_output_stream(f"{folder}/{INDEX}.part") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    filesystem.move(f"{folder}/{INDEX}.part", f"{folder}/{INDEX}")


def _mixed(part: Encoded) -> list[int]:
    """All places in a random order that is always the same; patches of an image stay together."""
    wholes = torch.arange(len(part)) if part.wholes is None else torch.tensor(part.wholes)
    mixed = torch.randperm(int(wholes.max()) + 1, generator=torch.Generator().manual_seed(0))
    return torch.argsort(mixed[wholes], stable=True).tolist()


def _write_shards(
    filesystem: pafs.FileSystem,
    prefix: str,
    part: Encoded,
    order: Sequence[int],
    inspection: Inspection,
    progress: Progress,
) -> Iterator[tuple[str, list[int]]]:
    """Writes shard after shard; names them with the rows of each of their row groups."""
    schema = pa.schema([("image", pa.binary())])
    done = number = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while done < len(order):
            file, size, row_groups = f"{prefix}-{number:05d}.parquet", 0, []
            with (
                filesystem.open_output_stream(file) as sink,
                pq.ParquetWriter(sink, schema, compression="none", use_dictionary=False) as writer,
            ):
                while done < len(order) and size < SHARD_BYTES:
                    files = _some(pool, part, order, done, inspection)
                    writer.write_table(pa.table([pa.array(files, pa.binary())], schema=schema))
                    row_groups.append(len(files))
                    size += sum(map(len, files))
                    done += len(files)
                    progress(done, len(order))
            number += 1
            yield file.rpartition("/")[2], row_groups


def _some(
    pool: ThreadPoolExecutor, part: Encoded, order: Sequence[int], start: int, inspection: Inspection
) -> list[bytes]:
    """Image files from a place in the order on, of `ROW_GROUP_BYTES` in all or little more, all looked at."""

    def read(place: int) -> tuple[bytes, Tensor | DataError]:
        try:
            content = part.read(place)
        except DataError as error:
            return b"", error
        return content, inspection.attempt(part, place, content)

    files: list[bytes] = []
    while start + len(files) < len(order) and sum(map(len, files)) < ROW_GROUP_BYTES:
        begin = start + len(files)
        places = order[begin : begin + 16]
        for place, (content, attempted) in zip(places, pool.map(read, places), strict=True):
            inspection.take(attempted, part.names[place])
            files.append(content)
    return files


def _open(filesystem: pafs.FileSystem, folder: str, fingerprint: str, decoder: Decoder) -> Cached | None:
    """The shards, or None if they are not there, damaged or of other files."""
    try:
        with filesystem.open_input_file(f"{folder}/{INDEX}") as file:
            batch = pa.ipc.open_file(file).get_batch(0)
        meta = json.loads(batch.schema.metadata[_META])
        if meta["format"] != FORMAT or meta["fingerprint"] != fingerprint:
            return None
        layout = [RowGroup(f"{folder}/{name}", number, rows) for name, number, rows in meta["layout"]]
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    there = {file.path for file in filesystem.get_file_info(pafs.FileSelector(folder))}
    if not {group.file for group in layout} <= there:
        return None
    _, height, width = meta["shape"]
    columns = {name: batch.column(name) for name in ("part", "label", "group", "name")}
    table = Table(filesystem, layout, "image")
    pixels = Shards(table, decoder, height, width, lambda row: columns["name"][row].as_py())
    part_of = torch.from_numpy(columns["part"].to_numpy().copy())
    labels = torch.from_numpy(columns["label"].to_numpy().copy())

    def images(number: int) -> Images:
        rows = torch.nonzero(part_of == number).flatten()
        numbers = columns["group"].take(pa.array(rows.numpy()))
        wholes: Tensor | None = None if numbers.null_count else torch.from_numpy(numbers.to_numpy().copy())
        return Images(pixels, labels[rows], rows, wholes=wholes)

    num_labelled = int((part_of == 0).sum())
    names = columns["name"].slice(0, num_labelled).to_pylist()
    return Cached(images(0), images(1) if num_labelled < len(labels) else None, meta["num_classes"], names)
