"""The cache of a data set that fits into memory: one Arrow file, written once per node, mapped by all its processes."""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import torch
from torch import Size, Tensor

from dabo_ray.data.decode import Decoder
from dabo_ray.data.images import DataError, Images
from dabo_ray.data.inspection import Inspection, in_threads
from dabo_ray.data.locks import locked, replacing
from dabo_ray.data.published import Part, Progress, Published, silent

FORMAT = 2
"""Changes when older caches can no longer be read, or when files are decoded to other pixels."""

PROBES = 64
"""Images of each part that are compared with the recorded digest when a cache is opened."""

_META = b"dabo_ray"


@dataclass(frozen=True)
class Cached:
    """The images of a data set, and the names of the labelled ones if they were files."""

    labelled: Images
    test: Images | None
    num_classes: int
    names: Sequence[str] | None


def cached(published: Published, file: Path, decoder: Decoder, progress: Progress = silent) -> Cached:
    """A data set through its cache, which is made if it is missing, damaged or of older files.

    Of processes that ask at once, one makes it and the others wait.

    Raises:
        DataError: the published files are damaged, or the cache cannot be written.
    """
    found = _open(file, published.fingerprint)
    if found is None:
        with locked(file):
            found = _open(file, published.fingerprint)
            if found is None:
                _write(file, published, decoder, progress)
                found = _open(file, published.fingerprint)
    if found is None:
        raise DataError(f"the cache {file} cannot be read after it was written; look at the disk, or set data.cache")
    return found


def _write(file: Path, published: Published, decoder: Decoder, progress: Progress) -> None:
    inspection = Inspection(decoder)
    size = None if decoder.image_size is None else Size((decoder.CHANNELS, decoder.image_size, decoder.image_size))
    parts = [_decoded(part, inspection, size, progress) for part in published.parts() if part is not None]
    inspection.finish()
    pixels = [part.images.numpy() for part, _ in parts]
    labels = [part.labels.numpy() for part, _ in parts]
    meta = {
        "format": FORMAT,
        "fingerprint": published.fingerprint,
        "num_classes": published.num_classes,
        "shape": parts[0][0].shape,
        "digests": [_digest(*pair) for pair in zip(pixels, labels, strict=True)],
    }
    kind = pa.binary(int(np.prod(parts[0][0].shape)))
    fields = [("pixels", kind), ("label", pa.int64()), ("group", pa.int64()), ("name", pa.string())]
    schema = pa.schema(fields, metadata={_META: json.dumps(meta)})
    with replacing(file) as temporary, pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for (part, names), plane in zip(parts, pixels, strict=True):
            columns = [
                pa.Array.from_buffers(kind, len(part), [None, pa.py_buffer(np.ascontiguousarray(plane))]),
                pa.array(part.labels.numpy()),
                pa.nulls(len(part), pa.int64()) if part.wholes is None else pa.array(part.wholes.numpy()),
                pa.nulls(len(part), pa.string()) if names is None else pa.array(names, pa.string()),
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


def _decoded(
    part: Part, inspection: Inspection, size: Size | None, progress: Progress
) -> tuple[Images, Sequence[str] | None]:
    """The images in memory, with their names; those that could not be decoded are left as they happen to be."""
    if isinstance(part, Images):
        return part, None
    pixels = None if size is None else torch.empty((len(part), *size), dtype=torch.uint8)
    for place, attempted in enumerate(in_threads(lambda place: inspection.attempt(part, place), range(len(part)))):
        image = inspection.take(attempted, part.names[place])
        if image is not None:
            pixels = torch.empty((len(part), *image.shape), dtype=torch.uint8) if pixels is None else pixels
            pixels[place] = image
        progress(place + 1, len(part))
    if pixels is None:
        inspection.finish()
        raise DataError("a part of the data set has no images; look at data.root")
    wholes = None if part.wholes is None else torch.tensor(part.wholes)
    return Images(pixels, torch.tensor(part.labels), wholes=wholes), part.names


def _open(file: Path, fingerprint: str) -> Cached | None:
    """The cache, or None if it is not there, damaged or of other files."""
    try:
        with file.open("rb") as opened:
            # Private pages are those of the file until someone writes to them, and nobody does. Torch takes no memory
            # that may only be read without a warning.
            mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
        whole = pa.py_buffer(mapped)
        reader = pa.ipc.open_file(whole)
        meta = json.loads(reader.schema.metadata[_META])
        if meta["format"] != FORMAT or meta["fingerprint"] != fingerprint:
            return None
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        parts = [_images(mapped, whole, batch, meta["shape"]) for batch in batches]
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    if [_digest(part.images.numpy(), part.labels.numpy()) for part in parts] != meta["digests"]:
        return None
    names = batches[0].column("name")
    return Cached(
        parts[0],
        parts[1] if len(parts) > 1 else None,
        meta["num_classes"],
        None if names.null_count else names.to_pylist(),
    )


def _images(mapped: mmap.mmap, whole: pa.Buffer, batch: pa.RecordBatch, shape: Sequence[int]) -> Images:
    """A record batch as tensors on the mapped pages."""

    def tensor(name: str, dtype: torch.dtype, count: int) -> Tensor:
        offset = batch.column(name).buffers()[1].address - whole.address
        return torch.frombuffer(mapped, dtype=dtype, count=count, offset=offset)

    num = batch.num_rows
    pixels = tensor("pixels", torch.uint8, num * int(np.prod(shape))).view(num, *shape)
    wholes = None if batch.column("group").null_count else tensor("group", torch.int64, num)
    return Images(pixels, tensor("label", torch.int64, num), wholes=wholes)


def _digest(pixels: Any, labels: Any) -> str:
    """Of all labels and of some images: quick, and another data set has another."""
    digest = blake2b(labels.tobytes(), digest_size=12)
    step = max(1, len(pixels) // PROBES)
    digest.update(np.ascontiguousarray(pixels[::step]).tobytes())
    digest.update(np.ascontiguousarray(pixels[-1]).tobytes())
    return digest.hexdigest()
