"""CIFAR as published: python and binary version, packed and unpacked, whole, damaged and hostile."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from dabo_ray.data import cifar
from dabo_ray.data.images import DataError
from dabo_ray.data.sources import load
from tests.data.miniatures import cifar_files, python2_pickle, write_files, write_tar

FOLDERS = {
    ("cifar10", False): ("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    ("cifar10", True): ("cifar-10-batches-bin", "cifar-10-binary.tar.gz"),
    ("cifar100", False): ("cifar-100-python", "cifar-100-python.tar.gz"),
    ("cifar100", True): ("cifar-100-binary", "cifar-100-binary.tar.gz"),
}


def accept(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the archive's own checksum for the published one."""
    md5 = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    versions = {
        title: [dataclasses.replace(v, md5=md5) if v.archive == archive.name else v for v in versions]
        for title, versions in cifar.VERSIONS.items()
    }
    monkeypatch.setattr(cifar, "VERSIONS", versions)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("name", "binary"), list(FOLDERS))
def test_every_version(name: str, binary: bool, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files, train, test = cifar_files(name == "cifar100", binary)
    folder, archive = FOLDERS[name, binary]
    if packed:
        write_tar(tmp_path / archive, {f"{folder}/{member}": content for member, content in files.items()})
        accept(tmp_path / archive, monkeypatch)
    else:
        write_files(tmp_path / folder, files)
    source = load(name, tmp_path)
    assert source.num_classes == (100 if name == "cifar100" else 10)
    assert source.test is not None
    for images, (pixels, labels) in ((source.labelled, train), (source.test, test)):
        assert torch.equal(images.images, pixels)
        assert torch.equal(images.labels, labels)


def test_the_miniature_is_what_torchvision_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The tests' pickles are in the published form: torchvision, which knows that form alone, reads the same."""
    files, train, _ = cifar_files(coarse=False, binary=False)
    meta = python2_pickle({b"label_names": [b"airplane"] * 10, b"num_vis": 3072})
    write_files(tmp_path / "cifar-10-batches-py", {**files, "batches.meta": meta})
    # Nothing but the checksums of the published files is left out.
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    published = torchvision.datasets.CIFAR10(str(tmp_path))
    assert np.array_equal(published.data.transpose(0, 3, 1, 2), train[0].numpy())
    assert published.targets == train[1].tolist()
    assert torch.equal(load("cifar10", tmp_path).labelled.images, train[0])


def test_published_checksums():
    """The two that torchvision knows."""
    md5 = {version.archive: version.md5 for versions in cifar.VERSIONS.values() for version in versions}
    assert md5["cifar-10-python.tar.gz"] == torchvision.datasets.CIFAR10.tgz_md5
    assert md5["cifar-100-python.tar.gz"] == torchvision.datasets.CIFAR100.tgz_md5


class Hostile:
    """Pickles as a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        import os

        return os.system, (self.command,)


def hostile_pickles(proof: Path) -> dict[str, bytes]:
    eval_call = f'c__builtin__\neval\n(S\'open("{proof}", "w")\'\ntR.'
    dotted = f"cnumpy\ndtype.__class__\n(S'touch {proof}'\ntR."
    return {
        "os.system": pickle.dumps(Hostile(f"touch {proof}")),
        "eval": eval_call.encode(),
        "attribute of an allowed name": dotted.encode(),
        "numpy's loader": b"cnumpy\nload\n(S'x'\ntR.",
        "an array of objects": python2_pickle({b"data": np.array([1, None], object), b"labels": [0, 1]}),
        "an array without end": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I999999999999\ntS'b'\ntR.",
    }


@pytest.mark.parametrize("kind", list(hostile_pickles(Path("x"))))
def test_hostile_pickles_are_refused_and_leave_nothing(kind: str, tmp_path: Path, cache_folder: Path):
    proof = tmp_path / "proof"
    files, *_ = cifar_files(coarse=False, binary=False, num=2)
    write_files(tmp_path / "cifar-10-batches-py", {**files, "data_batch_3": hostile_pickles(proof)[kind]})
    with pytest.raises(DataError, match=r"data_batch_3 .*get it again"):
        load("cifar10", tmp_path)
    assert not proof.exists()
    assert not [path for path in cache_folder.rglob("*") if path.suffix != ".lock"]


def other_batch(**changes: object) -> bytes:
    pixels = np.zeros((2, 3072), np.uint8)
    batch = {b"data": pixels, b"labels": [0, 1]} | {key.encode(): value for key, value in changes.items()}
    return python2_pickle(batch)


WHOLE = other_batch()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a batch of CIFAR"),
        (WHOLE[:3000], "not a batch of CIFAR"),
        (WHOLE[:-20], "not a batch of CIFAR"),
        (b"\x80\x02]q\x00.", "not a batch of CIFAR"),
        (other_batch(labels=[0]), r"found \(2, 3072\) and \(1,\)"),
        (other_batch(labels=[0, 10]), "labels from 0 to 9, found 10"),
        (other_batch(labels=[0, -1]), "labels from 0 to 9, found -1"),
        (other_batch(labels=[b"a", b"b"]), "whole numbers as labels"),
        (other_batch(data=np.zeros((2, 3072), np.float64)), "no bytes"),
        (other_batch(data=np.zeros((2, 1024), np.uint8)), r"found \(2, 1024\)"),
        (other_batch(data=[1, 2]), "no bytes"),
    ],
)
def test_damaged_batches(content: bytes, words: str, tmp_path: Path):
    files, *_ = cifar_files(coarse=False, binary=False, num=2)
    write_files(tmp_path / "cifar-10-batches-py", {**files, "test_batch": content})
    with pytest.raises(DataError, match=words) as caught:
        load("cifar10", tmp_path)
    assert str(tmp_path / "cifar-10-batches-py" / "test_batch") in str(caught.value)


@pytest.mark.parametrize("content", [b"", bytes(3073 * 2 - 1), bytes(3073) + b"\x0a" + bytes(3072)])
def test_damaged_binary_batches(content: bytes, tmp_path: Path):
    files, *_ = cifar_files(coarse=False, binary=True, num=2)
    write_files(tmp_path / "cifar-10-batches-bin", {**files, "data_batch_1.bin": content})
    with pytest.raises(DataError, match=r"data_batch_1\.bin.*get it again"):
        load("cifar10", tmp_path)


def test_a_missing_batch(tmp_path: Path):
    files, *_ = cifar_files(coarse=False, binary=False, num=2)
    write_files(tmp_path / "cifar-10-batches-py", files)
    (tmp_path / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(DataError, match=r"not whole: no .*data_batch_4"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize(("name", "title"), [("cifar10", "CIFAR-10"), ("cifar100", "CIFAR-100")])
def test_missing(name: str, title: str, tmp_path: Path):
    with pytest.raises(DataError) as caught:
        load(name, tmp_path)
    said = str(caught.value)
    assert title in said and f"dabo_ray.prepare {name} --root {tmp_path} --download" in said
    assert all(word in said for (each, _), pair in FOLDERS.items() if each == name for word in pair)


def test_an_archive_that_is_not_the_published_one(tmp_path: Path, cache_folder: Path):
    files, *_ = cifar_files(coarse=False, binary=True, num=2)
    write_tar(tmp_path / "cifar-10-binary.tar.gz", {f"cifar-10-batches-bin/{n}": c for n, c in files.items()})
    with pytest.raises(DataError, match=r"MD5 is .* the published one c32a1d4ab5d03f1284b67883e8d87530"):
        load("cifar10", tmp_path)
    assert not [path for path in cache_folder.rglob("*") if path.suffix != ".lock"]


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../../x"),
        tarfile.TarInfo("cifar-10-batches-bin/../../x"),
        tarfile.TarInfo("/etc/x"),
        link("cifar-10-batches-bin/test_batch.bin", "/etc/passwd"),
    ],
    ids=["above", "above in the middle", "absolute", "link"],
)
def test_members_that_would_escape(
    member: tarfile.TarInfo, tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    files, *_ = cifar_files(coarse=False, binary=True, num=2)
    archive = tmp_path / "root" / "cifar-10-binary.tar.gz"
    archive.parent.mkdir()
    write_tar(archive, {f"cifar-10-batches-bin/{n}": c for n, c in files.items()}, extra=[member])
    accept(archive, monkeypatch)
    with pytest.raises(DataError, match=r"hostile|not as published"):
        load("cifar10", archive.parent)
    assert [path for path in (tmp_path / "root").iterdir()] == [archive]
    assert not [path for path in cache_folder.rglob("*") if path.suffix != ".lock"]


@pytest.mark.parametrize("damage", ["cut", "garbage", "a member is missing"])
def test_damaged_archives(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files, *_ = cifar_files(coarse=False, binary=True, num=2)
    if damage == "a member is missing":
        del files["data_batch_2.bin"]
    archive = tmp_path / "cifar-10-binary.tar.gz"
    write_tar(archive, {f"cifar-10-batches-bin/{n}": c for n, c in files.items()})
    content = archive.read_bytes()
    archive.write_bytes({"cut": content[: len(content) // 2], "garbage": b"x" * 999}.get(damage, content))
    accept(archive, monkeypatch)
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz .*get .*again|get it again"):
        load("cifar10", tmp_path)


def test_pickles_of_this_numpy_are_read_too():
    """Files that someone wrote again with a newer Python and numpy."""
    batch = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}
    buffer = io.BytesIO()
    pickle.dump(batch, buffer, protocol=4)
    pixels, labels = cifar.VERSIONS["CIFAR-10"][0].parse(buffer.getvalue(), "here")
    assert pixels.shape == (2, 3072) and labels.tolist() == [0, 1]
