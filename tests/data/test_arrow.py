"""The cache: written once, whole or not at all, shared by processes, and made again when the files change."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
import warnings
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import torch

from dabo_ray.data import arrow
from dabo_ray.data.arrow import cached
from dabo_ray.data.decode import Decoder
from dabo_ray.data.images import DataError, Images
from dabo_ray.data.published import Part, Published
from dabo_ray.data.sources import Reading, load
from tests.data.miniatures import cifar_files, encoded, random_bytes, write_files

FORK = multiprocessing.get_context("fork")


def published(root: Path, seconds: float = 0.0, seed: int = 0, started: Event | None = None) -> Published:
    """A data set that notes every time it is read, and takes its time."""

    def parts() -> tuple[Part, Part | None]:
        with (root / "reads").open("a") as file:
            file.write("x")
        if started is not None:
            started.set()
        time.sleep(seconds)
        labels = torch.arange(500) % 7
        return Images(random_bytes(500, 3, 8, 8, seed=seed), labels), Images(random_bytes(90, 3, 8, 8), labels[:90])

    return Published("a test", f"v{seed}", 7, parts)


def reads(root: Path) -> int:
    return len((root / "reads").read_text())


def get(root: Path, **changes: object) -> arrow.Cached:
    return cached(published(root, **changes), root / "c.arrow", Decoder(None))  # type: ignore[arg-type]


def test_what_is_read_is_what_was_written(tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = get(tmp_path), get(tmp_path)
    assert reads(tmp_path) == 1
    for found in (first, second):
        assert torch.equal(found.labelled.images, random_bytes(500, 3, 8, 8))
        assert torch.equal(found.labelled.labels, torch.arange(500) % 7)
        assert found.test is not None and torch.equal(found.test.images, random_bytes(90, 3, 8, 8))
        assert found.num_classes == 7 and found.names is None
    assert {path.name for path in tmp_path.iterdir()} == {"c.arrow", "c.arrow.lock", "reads"}


def test_writing_to_images_does_not_change_the_cache(tmp_path: Path):
    get(tmp_path).labelled.images.zero_()
    assert torch.equal(get(tmp_path).labelled.images, random_bytes(500, 3, 8, 8))
    assert reads(tmp_path) == 1


def test_other_files_make_another_cache(tmp_path: Path):
    get(tmp_path)
    assert torch.equal(get(tmp_path, seed=1).labelled.images, random_bytes(500, 3, 8, 8, seed=1))
    assert reads(tmp_path) == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "a changed label", "no footer"])
def test_a_damaged_cache_is_made_again(damage: str, tmp_path: Path):
    get(tmp_path)
    file = tmp_path / "c.arrow"
    whole = file.read_bytes()
    at = whole.index(torch.arange(500).remainder(7).numpy().tobytes())
    changed = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "garbage": b"x" * 5000,
        "a changed label": whole[:at] + b"\x05" + whole[at + 1 :],
        "no footer": whole[:-10],
    }
    file.write_bytes(changed[damage])
    assert torch.equal(get(tmp_path).labelled.images, random_bytes(500, 3, 8, 8))
    assert reads(tmp_path) == 2


def test_of_two_processes_one_converts_and_the_other_waits(tmp_path: Path):
    def prepare(queue: multiprocessing.Queue[str]) -> None:
        queue.put(get(tmp_path, seconds=0.5).labelled.digest())

    queue: multiprocessing.Queue[str] = FORK.Queue()
    processes = [FORK.Process(target=prepare, args=(queue,)) for _ in range(3)]
    for process in processes:
        process.start()
    digests = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert reads(tmp_path) == 1
    assert set(digests) == {get(tmp_path).labelled.digest()}


@pytest.mark.parametrize("moment", ["while reading", "while writing"])
def test_a_kill_leaves_no_half_cache(moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    started = FORK.Event()

    def hang(*_: object, **__: object) -> None:
        started.set()
        time.sleep(60)

    if moment == "while writing":
        # The file is written, not yet renamed.
        monkeypatch.setattr(os, "fsync", hang)
    changes = {"seconds": 60, "started": started} if moment == "while reading" else {}
    process = FORK.Process(target=get, args=(tmp_path,), kwargs=changes)
    process.start()
    assert started.wait(60)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    monkeypatch.undo()
    assert not (tmp_path / "c.arrow").exists()
    assert bool(list(tmp_path.glob("*.tmp"))) == (moment == "while writing")
    assert torch.equal(get(tmp_path).labelled.images, random_bytes(500, 3, 8, 8))
    assert not list(tmp_path.glob("*.tmp"))


def test_a_folder_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"cannot be written .*; make room or set data\.cache"):
        cached(published(tmp_path), tmp_path / "file" / "c.arrow", Decoder(None))


def test_a_full_disk(tmp_path: Path):
    """The system lets no file grow over 20 kB; the cache needs 114."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(DataError, match=r"cannot be written .*data\.cache"):
            get(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "c.arrow").exists() and not list(tmp_path.glob("*.tmp"))


def test_published_files_that_change(tmp_path: Path):
    files, train, _ = cifar_files(coarse=False, binary=True)
    folder = tmp_path / "cifar-10-batches-bin"
    write_files(folder, files)
    reading = Reading(cache=str(tmp_path / "cache"))
    assert torch.equal(load("cifar10", tmp_path, reading).labelled.images, train[0])
    swapped = {**files, "data_batch_1.bin": files["data_batch_2.bin"], "data_batch_2.bin": files["data_batch_1.bin"]}
    write_files(folder, swapped)
    expected = torch.cat([train[0][20:40], train[0][:20], train[0][40:]])
    assert torch.equal(load("cifar10", tmp_path, reading).labelled.images, expected)


def test_an_image_that_is_added_to_a_folder(tmp_path: Path):
    root = tmp_path / "root"
    for name in ("a", "b"):
        write_files(root / name, {"0.png": encoded(random_bytes(3, 8, 8))})
    reading = Reading(cache=str(tmp_path / "cache"))
    assert len(load("image_folder", root, reading).labelled) == 2
    write_files(root / "a", {"1.png": encoded(random_bytes(3, 8, 8))})
    assert len(load("image_folder", root, reading).labelled) == 3


def test_parts_share_the_pages(tmp_path: Path):
    """Taking images copies none of them."""
    found = get(tmp_path).labelled
    part = found.take(torch.arange(10, 400, 3)).take(torch.arange(5))
    assert part.pixels is found.pixels
    assert torch.equal(part.images, found.images[[10, 13, 16, 19, 22]])
    assert torch.equal(part.labels, found.labels[[10, 13, 16, 19, 22]])
