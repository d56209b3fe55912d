"""MNIST (LeCun et al., 1998) and Fashion-MNIST (Xiao et al., 2017): four idx files, gzipped or plain."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from dabo_ray.data.images import DataError, Images
from dabo_ray.data.published import Published, fingerprint_of

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts the four files."""

NAMES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
NUM_CLASSES = 10


def fashion_mnist(root: Path) -> Published:
    """60,000 and 10,000 images of 28x28 pixels."""
    places = [root / "FashionMNIST" / "raw", root / "fashion_mnist", root, DEBIAN_FASHION_MNIST]
    return _found("Fashion-MNIST", places, "`apt-get install dataset-fashion-mnist` (Debian, Ubuntu) or ", root)


def mnist(root: Path) -> Published:
    """60,000 and 10,000 images of 28x28 pixels."""
    return _found("MNIST", [root / "MNIST" / "raw", root / "mnist", root], "", root)


def _found(title: str, places: Sequence[Path], other_way: str, root: Path) -> Published:
    for place in places:
        for ending in (".gz", ""):
            files = [place / f"{name}{ending}" for name in NAMES]
            if all(file.is_file() for file in files):
                return Published(title, fingerprint_of(files), NUM_CLASSES, partial(_read, files))
    raise DataError(
        f"{title} not found: looked for {', '.join(f'{name}.gz' for name in NAMES)} (or without .gz) in "
        f"{', '.join(map(str, places))}. Get the files with {other_way}"
        f"`python -m dabo_ray.prepare {title.lower().replace('-', '_')} --root {root} --download`"
    )


def _read(files: Sequence[Path]) -> tuple[Images, Images]:
    parts = [read_idx(file) for file in files]
    return _paired(files[0].parent, *parts[:2]), _paired(files[0].parent, *parts[2:])


def _paired(folder: Path, images: Tensor, labels: Tensor) -> Images:
    """The images with their labels."""
    if images.shape[1:] != (28, 28) or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(
            f"{folder}: expected (N, 28, 28) images and N labels, found {tuple(images.shape)} and "
            f"{tuple(labels.shape)}; get the files again"
        )
    if labels.max() >= NUM_CLASSES:
        raise DataError(f"{folder}: expected labels from 0 to 9, found {int(labels.max())}; get the files again")
    return Images(images.unsqueeze(1).contiguous(), labels.long())


def read_idx(path: Path) -> Tensor:
    """The uint8 array of an idx file (LeCun's format: two zeros, type 8, number of dimensions, sizes, bytes).

    Raises:
        DataError: the file is truncated, has bytes too many, or is not idx of unsigned bytes.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); get the file again") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise DataError(f"{path} is not an idx file of unsigned bytes; get the file again")
    start = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    expected = math.prod(shape)
    if len(content) - start != expected:
        raise DataError(
            f"{path} holds {len(content) - start} bytes, its header promises {expected}; get the file again"
        )
    if expected == 0:
        raise DataError(f"{path} is empty: its header says {shape}; get the file again")
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).reshape(shape)
