"""MNIST and Fashion-MNIST as published, and files that are missing or damaged."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dabo_ray.data import idx as idx_module
from dabo_ray.data.idx import read_idx
from dabo_ray.data.images import DataError
from dabo_ray.data.sources import load

NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def idx(array: Tensor, kind: int = 8) -> bytes:
    """The published layout: two zeros, type, number of dimensions, sizes (big-endian), bytes."""
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.numpy().tobytes()


def zipped(folder: Path, content: bytes, name: str = "x-ubyte.gz") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(content))
    return path


def random_bytes(*shape: int, high: int = 256) -> Tensor:
    return torch.randint(0, high, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def miniature(folder: Path, train: int = 5, test: int = 3, side: int = 28) -> Sequence[Tensor]:
    """Fashion-MNIST's four files with few images."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = [random_bytes(n, *shape, high=10) for n in (train, test) for shape in ((side, side), ())]
    for name, array in zip(NAMES, arrays, strict=True):
        zipped(folder, idx(array), name)
    return arrays


@pytest.fixture
def no_debian_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(idx_module, "DEBIAN_FASHION_MNIST", tmp_path / "not-installed")


@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 5, 6), (1, 2, 3, 4)])
def test_idx_reads_what_was_written(shape: tuple[int, ...], tmp_path: Path):
    array = random_bytes(*shape)
    assert torch.equal(read_idx(zipped(tmp_path, idx(array))), array)


WHOLE = idx(random_bytes(2, 3, 4))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an idx file"),
        (WHOLE[:3], "not an idx file"),
        (WHOLE[:9], "not an idx file"),
        (WHOLE[:-1], "holds 23 bytes, its header promises 24"),
        (WHOLE + b"x", "holds 25 bytes, its header promises 24"),
        (idx(random_bytes(4), kind=0x0D), "not an idx file of unsigned bytes"),
        (b"\x89PNG" + WHOLE, "not an idx file"),
        (idx(torch.zeros(0, 28, 28, dtype=torch.uint8)), "is empty"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "holds 0 bytes, its header promises 79228162458924105385300197375"),
    ],
)
def test_idx_that_is_damaged(content: bytes, words: str, tmp_path: Path):
    path = zipped(tmp_path, content)
    with pytest.raises(DataError, match=words) as caught:
        read_idx(path)
    assert str(path) in str(caught.value) and "get the file again" in str(caught.value)


def test_idx_in_damaged_gzip(tmp_path: Path):
    whole = gzip.compress(idx(random_bytes(64, 28, 28)))
    middle = len(whole) // 2
    damaged = {
        "plain": idx(random_bytes(4)),
        "cut": whole[:middle],
        "cut in the header": whole[:6],
        "changed in the middle": whole[:middle] + bytes(64) + whole[middle + 64 :],
        "changed at the start": whole[:10] + b"\xff" * 20 + whole[30:],
        "wrong checksum": whole[:-8] + bytes(4) + whole[-4:],
    }
    for content in damaged.values():
        path = tmp_path / "x.gz"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x.gz cannot be read .*get the file again"):
            read_idx(path)


@pytest.mark.usefixtures("no_debian_files")
@pytest.mark.parametrize("below", ["FashionMNIST/raw", "fashion_mnist", "."])
def test_fashion_mnist_in_miniature(below: str, tmp_path: Path):
    train_images, train_labels, test_images, test_labels = miniature(tmp_path / below)
    source = load("fashion_mnist", tmp_path)
    assert source.test is not None and source.num_classes == 10
    for images, pixels, labels in (
        (source.labelled, train_images, train_labels),
        (source.test, test_images, test_labels),
    ):
        assert torch.equal(images.images, pixels[:, None])
        assert torch.equal(images.labels, labels.long())


@pytest.mark.usefixtures("no_debian_files")
def test_fashion_mnist_missing(tmp_path: Path):
    miniature(tmp_path)
    (tmp_path / NAMES[2]).unlink()
    with pytest.raises(DataError) as caught:
        load("fashion_mnist", tmp_path)
    said = str(caught.value)
    assert all(name in said for name in NAMES)
    assert str(tmp_path / "FashionMNIST" / "raw") in said
    assert "apt-get install dataset-fashion-mnist" in said
    assert f"dabo_ray.prepare fashion_mnist --root {tmp_path} --download" in said


@pytest.mark.usefixtures("no_debian_files")
@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        (NAMES[1], random_bytes(4, high=10), r"found \(5, 28, 28\) and \(4,\)"),
        (NAMES[1], random_bytes(5, 1, high=10), r"found \(5, 28, 28\) and \(5, 1\)"),
        (NAMES[2], random_bytes(3, 784), r"expected \(N, 28, 28\) images and N labels, found \(3, 784\)"),
        (NAMES[2], random_bytes(3, 32, 32), r"found \(3, 32, 32\)"),
        (NAMES[3], torch.tensor([0, 11, 9], dtype=torch.uint8), "labels from 0 to 9, found 11"),
    ],
)
def test_fashion_mnist_that_does_not_fit_together(name: str, array: Tensor, words: str, tmp_path: Path):
    miniature(tmp_path)
    zipped(tmp_path, idx(array), name)
    with pytest.raises(DataError, match=words):
        load("fashion_mnist", tmp_path)


def test_fashion_mnist_as_published():
    """Needs Debian's package: 60,000 and 10,000 images, each class as often; the first labels are known."""
    assert idx_module.DEBIAN_FASHION_MNIST.is_dir(), "install the files: apt-get install dataset-fashion-mnist"
    source = load("fashion_mnist", Path("nowhere"))
    assert source.test is not None
    assert source.labelled.images.shape == (60000, 1, 28, 28)
    assert source.test.images.shape == (10000, 1, 28, 28)
    assert source.labelled.labels.bincount().tolist() == [6000] * 10
    assert source.test.labels.bincount().tolist() == [1000] * 10
    assert source.labelled.labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    # The published mean and standard deviation of the training pixels.
    pixels = source.labelled.images.float() / 255
    assert pixels.mean().item() == pytest.approx(0.2860, abs=5e-5)
    assert pixels.std().item() == pytest.approx(0.3530, abs=5e-5)
