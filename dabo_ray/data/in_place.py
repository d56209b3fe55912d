"""Data sets that are published as Parquet and read where they lie, once every image was looked at."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow.fs as pafs
import torch

from dabo_ray.data.arrow import Cached
from dabo_ray.data.decode import Decoder
from dabo_ray.data.images import DataError, Images
from dabo_ray.data.inspection import inspect
from dabo_ray.data.locks import locked
from dabo_ray.data.published import Encoded, Progress, Published
from dabo_ray.data.stream import Shards

FORMAT = 2
"""Changes when files are decoded to other pixels."""

LARGEST_ROW_GROUP = 64 * 2**20
"""Some dozens of row groups are in memory at once."""


def in_place(
    published: Published,
    labelled: Encoded,
    test: Encoded | None,
    decoder: Decoder,
    note: tuple[pafs.FileSystem, str],
    lock: Path,
    progress: Progress,
) -> Cached:
    """The images of published Parquet files, all of which can be decoded.

    Args:
        published: the data set.
        labelled: its images, of a table.
        test: its test images, of a table too, if it has some.
        decoder: of the images when they are read.
        note: filesystem and file that says that all images were looked at.
        lock: held while they are.
        progress: told how far that is.

    Raises:
        DataError: row groups are too large or sorted by class, or images cannot be decoded or differ in size.
    """
    assert labelled.table is not None
    labels = torch.tensor(labelled.labels)
    largest = max(group.size for group in labelled.table.row_groups)
    if largest > LARGEST_ROW_GROUP:
        raise DataError(
            f"{published.title} has row groups of up to {largest / 2**20:.1f} MiB, which are read as a whole; write it "
            f"with a smaller row_group_size ({LARGEST_ROW_GROUP // 2**20} MiB at most), or set data.streaming to never"
        )
    if int((labels[1:] != labels[:-1]).sum()) < 2 * published.num_classes <= len(labels) / 10:
        raise DataError(
            f"{published.title} is sorted by class; rows that are read together are shown together, so shuffle them "
            "before they are written, or set data.streaming to never"
        )

    parts = [part for part in (labelled, test) if part is not None]
    with locked(lock):
        height, width = _inspected(published, parts, decoder, *note, progress)

    def images(part: Encoded) -> Images:
        assert part.table is not None
        pixels = Shards(part.table, decoder, height, width, part.names.__getitem__)
        return Images(pixels, torch.tensor(part.labels))

    return Cached(images(labelled), None if test is None else images(test), published.num_classes, None)


def _inspected(
    published: Published,
    parts: Sequence[Encoded],
    decoder: Decoder,
    filesystem: pafs.FileSystem,
    file: str,
    progress: Progress,
) -> tuple[int, int]:
    """Height and width of images that are read where they lie; a file says that all were looked at before."""
    asked = {"format": FORMAT, "fingerprint": published.fingerprint}
    try:
        with filesystem.open_input_stream(file) as stream:
            told = json.loads(stream.read())
        if {key: told[key] for key in asked} == asked:
            return int(told["height"]), int(told["width"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    _, height, width = inspect(parts, decoder, progress)
    # Where nothing can be written, they are looked at the next time again.
    with contextlib.suppress(OSError):
        with filesystem.open_output_stream(f"{file}.part") as sink:
            sink.write(json.dumps(asked | {"height": height, "width": width}).encode())
        filesystem.move(f"{file}.part", file)
    return height, width
