"""Published data sets as they lie on disk, read into memory."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts the four files."""


class DataError(ValueError):
    """A data set that is missing or damaged; the message says what was looked for, where, and how to get it."""


@dataclass(frozen=True)
class Images:
    """Labelled images in memory."""

    images: Tensor
    """(N, C, H, W) uint8."""

    labels: Tensor
    """(N,) int64, from 0."""

    def __post_init__(self) -> None:
        assert self.images.dtype == torch.uint8 and self.images.ndim == 4, self.images.shape
        assert self.labels.shape == self.images.shape[:1], self.labels.shape

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Images:
        """The images at the indices, in their order."""
        return Images(self.images[indices], self.labels[indices])

    def digest(self) -> str:
        """A short fingerprint of every pixel and label."""
        digest = hashlib.blake2b(digest_size=12)
        digest.update(self.images.numpy().tobytes())
        digest.update(self.labels.numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Source:
    """A data set as published: labelled images and, if it has one, its test set."""

    labelled: Images
    test: Images | None
    num_classes: int


def load(name: str, root: Path) -> Source:
    """Reads a data set by its name in the study file.

    Raises:
        DataError: its files are missing, truncated or not what they should be.
    """
    return READERS[name](root)


def _digits(root: Path) -> Source:
    """The 1,797 handwritten digits of 8x8 pixels that come with scikit-learn (Alpaydin and Kaynak, 1998)."""
    del root
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    grey = torch.from_numpy(pixels).mul(255 / 16).round().to(torch.uint8)
    return Source(Images(grey.reshape(-1, 1, 8, 8), torch.from_numpy(labels).long()), None, 10)


def _fashion_mnist(root: Path) -> Source:
    """Fashion-MNIST (Xiao et al., 2017), 60,000 + 10,000 images of 28x28 pixels, from its four idx files."""
    names = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    places = [root / "FashionMNIST" / "raw", root / "fashion_mnist", root, DEBIAN_FASHION_MNIST]
    folder = next((place for place in places if all((place / name).is_file() for name in names)), None)
    if folder is None:
        raise DataError(
            f"Fashion-MNIST not found: looked for {', '.join(names)} in {', '.join(map(str, places))}. "
            "Get the files with `apt-get install dataset-fashion-mnist` (Debian, Ubuntu) or "
            f"`python -c \"import torchvision; torchvision.datasets.FashionMNIST('{root}', download=True)\"`"
        )
    parts = [read_idx(folder / name) for name in names]
    train, test = (_paired(folder, *parts[i : i + 2]) for i in (0, 2))
    return Source(train, test, 10)


def _paired(folder: Path, images: Tensor, labels: Tensor) -> Images:
    """The images of Fashion-MNIST with their labels."""
    if images.shape[1:] != (28, 28) or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(
            f"{folder}: expected (N, 28, 28) images and N labels, found {tuple(images.shape)} and "
            f"{tuple(labels.shape)}; get the files again"
        )
    if labels.max() > 9:
        raise DataError(f"{folder}: expected labels from 0 to 9, found {int(labels.max())}; get the files again")
    return Images(images.unsqueeze(1).contiguous(), labels.long())


def read_idx(path: Path) -> Tensor:
    """The uint8 array of a gzipped idx file (LeCun's format: two zeros, type 8, number of dimensions, sizes, bytes).

    Raises:
        DataError: the file is truncated, has bytes too many, or is not idx of unsigned bytes.
    """
    try:
        with gzip.open(path) as file:
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


def _not_yet(title: str, torchvision_name: str) -> Callable[[Path], Source]:
    def reader(root: Path) -> Source:
        raise DataError(
            f"{title} cannot be read by this version of dabo_ray, which knows digits and fashion_mnist. Its files can "
            f"be had with `python -c \"import torchvision; torchvision.datasets.{torchvision_name}('{root}', "
            'download=True)"`; a later version will read them from there'
        )

    return reader


READERS: dict[str, Callable[[Path], Source]] = {
    "digits": _digits,
    "fashion_mnist": _fashion_mnist,
    "cifar10": _not_yet("CIFAR-10", "CIFAR10"),
    "cifar100": _not_yet("CIFAR-100", "CIFAR100"),
}
