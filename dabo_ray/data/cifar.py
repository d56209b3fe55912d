"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): the python and the binary version, as archives or unpacked."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dabo_ray.data.archives import Folder, check_md5, read_tar
from dabo_ray.data.images import DataError, Images
from dabo_ray.data.published import Published, fingerprint_of

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class _Version:
    """One of the forms in which a data set is published."""

    archive: str
    md5: str
    folder: str
    train: Sequence[str]
    test: Sequence[str]
    parse: Callable[[bytes, str], tuple[Any, Any]]
    """Content and where it is from -> (N, 3072) and (N,) uint8 arrays."""


class _Unpickler(pickle.Unpickler):
    """Makes plain values and numpy arrays of numbers, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The few names that a pickled array holds."""
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _empty_array
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"it calls {module}.{name}, which no published file does")


def _empty_array(kind: type, shape: tuple[int, ...], code: bytes) -> Any:
    """What numpy pickles an array as, before its state is set."""
    if kind is not np.ndarray or shape != (0,):
        raise pickle.UnpicklingError("it holds an array in a form that no published file has")
    return np.ndarray((0,), np.uint8)


def _parse_python(label_key: bytes) -> Callable[[bytes, str], tuple[Any, Any]]:
    def parse(content: bytes, where: str) -> tuple[Any, Any]:
        try:
            batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
            pixels, labels = batch[b"data"], np.asarray(batch[label_key])
        except Exception as error:  # A damaged pickle may fail in any way.
            said = str(error) or type(error).__name__
            raise DataError(f"{where} is not a batch of CIFAR ({said}); get it again") from None
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or labels.dtype.kind not in "iu":
            raise DataError(f"{where} holds no bytes with whole numbers as labels; get it again")
        return pixels, labels

    return parse


def _parse_binary(label_bytes: int) -> Callable[[bytes, str], tuple[Any, Any]]:
    def parse(content: bytes, where: str) -> tuple[Any, Any]:
        record = label_bytes + PIXELS
        if not content or len(content) % record:
            raise DataError(f"{where} holds {len(content)} bytes, not a multiple of {record}; get it again")
        rows = np.frombuffer(content, np.uint8).reshape(-1, record)
        # CIFAR-100 has the coarse label first.
        return rows[:, label_bytes:], rows[:, label_bytes - 1]

    return parse


_BATCHES = [f"data_batch_{number}" for number in range(1, 6)]
VERSIONS: dict[str, Sequence[_Version]] = {
    "CIFAR-10": (
        _Version(
            "cifar-10-python.tar.gz",
            "c58f30108f718f92721af3b95e74349a",
            "cifar-10-batches-py",
            _BATCHES,
            ["test_batch"],
            _parse_python(b"labels"),
        ),
        _Version(
            "cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
            "cifar-10-batches-bin",
            [f"{name}.bin" for name in _BATCHES],
            ["test_batch.bin"],
            _parse_binary(1),
        ),
    ),
    "CIFAR-100": (
        _Version(
            "cifar-100-python.tar.gz",
            "eb9058c3a382ffc7106e4002c42a8d85",
            "cifar-100-python",
            ["train"],
            ["test"],
            _parse_python(b"fine_labels"),
        ),
        _Version(
            "cifar-100-binary.tar.gz",
            "03b5dce01913d631647c71ecec9e9cb8",
            "cifar-100-binary",
            ["train.bin"],
            ["test.bin"],
            _parse_binary(2),
        ),
    ),
}


def cifar10(root: Path) -> Published:
    """50,000 and 10,000 colour images of 32x32 pixels in 10 classes."""
    return _found("CIFAR-10", 10, root)


def cifar100(root: Path) -> Published:
    """50,000 and 10,000 colour images of 32x32 pixels in 100 classes (the fine labels)."""
    return _found("CIFAR-100", 100, root)


def _found(title: str, num_classes: int, root: Path) -> Published:
    name = title.lower().replace("-", "")
    places = [root, root / name]
    for place in places:
        for version in VERSIONS[title]:
            names = [*version.train, *version.test]
            if (folder := place / version.folder).is_dir():
                files = [folder / each for each in names]
                if missing := [str(file) for file in files if not file.is_file()]:
                    raise DataError(f"{title} is not whole: no {', '.join(missing)}; get it again")
                read = partial(_unpacked, version, folder, num_classes)
                return Published(title, fingerprint_of(files), num_classes, read)
            if (archive := place / version.archive).is_file():
                read = partial(_packed, version, archive, num_classes)
                return Published(title, fingerprint_of([archive]), num_classes, read)
    looked_for = ", ".join(f"{each.archive}, {each.folder}/" for each in VERSIONS[title])
    raise DataError(
        f"{title} not found: looked for {looked_for} in {', '.join(map(str, places))}. Get it with "
        f"`python -m dabo_ray.prepare {name} --root {root} --download`"
    )


def _unpacked(version: _Version, folder: Path, num_classes: int) -> tuple[Images, Images]:
    tree = Folder(folder)
    contents = {name: tree.read(name) for name in (*version.train, *version.test)}
    return _parts(version, contents, str(folder), num_classes)


def _packed(version: _Version, archive: Path, num_classes: int) -> tuple[Images, Images]:
    check_md5(archive, version.md5)
    names = {f"{version.folder}/{name}": name for name in (*version.train, *version.test)}
    contents = {names[member]: content for member, content in read_tar(archive, names).items()}
    return _parts(version, contents, f"{archive}: {version.folder}", num_classes)


def _parts(version: _Version, contents: dict[str, bytes], where: str, num_classes: int) -> tuple[Images, Images]:
    def joined(names: Sequence[str]) -> Images:
        batches = [(name, *version.parse(contents[name], f"{where}/{name}")) for name in names]
        for name, pixels, labels in batches:
            _check(pixels, labels, num_classes, f"{where}/{name}")
        images = np.concatenate([pixels for _, pixels, _ in batches]).reshape(-1, 3, 32, 32)
        return Images(
            torch.from_numpy(images), torch.from_numpy(np.concatenate([each for *_, each in batches]).astype(np.int64))
        )

    return joined(version.train), joined(version.test)


def _check(pixels: Any, labels: Any, num_classes: int, where: str) -> None:
    if pixels.ndim != 2 or pixels.shape[1] != PIXELS or labels.shape != pixels.shape[:1] or not len(labels):
        raise DataError(
            f"{where}: expected (N, {PIXELS}) pixels and N labels, found {pixels.shape} and {labels.shape}; "
            "get it again"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(f"{where}: expected labels from 0 to {num_classes - 1}, found {wrong}; get it again")
