"""Encoded images: the same pixels as decoded ones, in an order of seed and pass, for any number of workers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from dabo_ray.data import shards, stream
from dabo_ray.data.images import DataError, Images
from dabo_ray.data.loader import Batches, in_order
from dabo_ray.data.shift import Shift, shifted
from dabo_ray.data.sources import Reading, Source, load
from dabo_ray.data.stream import Ahead, Shards, windowed
from dabo_ray.workers import Workers
from tests.data.miniatures import encoded, random_bytes, write_files
from tests.fake_workers import OneOf

CPU = torch.device("cpu")
NUM = 120


@pytest.fixture(autouse=True)
def small_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many row groups and shards of few images."""
    monkeypatch.setattr(shards, "ROW_GROUP_BYTES", 2000)
    monkeypatch.setattr(shards, "SHARD_BYTES", 8000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes of 40 images each, in folders."""
    for number in range(NUM):
        image = random_bytes(3, 8, 8, seed=number)
        write_files(tmp_path / "root" / f"class{number // 40}", {f"{number:03d}.png": encoded(image)})
    return tmp_path / "root"


def both(root: Path, **changes: object) -> tuple[Source, Source]:
    decoded, encoded_ = (load("image_folder", root, Reading(streaming=s, **changes)) for s in (False, True))  # type: ignore[arg-type]
    return decoded, encoded_


def pairs(images: Images) -> set[tuple[bytes, int]]:
    return {(bytes(i.numpy()), int(label)) for i, label in zip(images.images, images.labels, strict=True)}


def test_shards_hold_the_same_images_mixed(root: Path, cache_folder: Path):
    decoded, streamed = both(root)
    assert isinstance(streamed.labelled.pixels, Shards)
    assert len(streamed.labelled) == NUM and streamed.num_classes == 3
    assert pairs(streamed.labelled) == pairs(decoded.labelled)
    assert len(list(cache_folder.glob("*/0-*.parquet"))) > 1
    # In the folders, neighbours are of one class.
    changes = int((streamed.labelled.labels[1:] != streamed.labelled.labels[:-1]).sum())
    assert changes > NUM / 2


def test_shards_are_used_again_until_the_files_change(root: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch):
    both(root)
    with monkeypatch.context() as patch:
        patch.setattr(shards, "_write", lambda *_: pytest.fail("written again"))
        both(root)
    write_files(root / "class0", {"new.png": encoded(random_bytes(3, 8, 8, seed=999))})
    assert len(both(root)[1].labelled) == NUM + 1
    next(cache_folder.glob("*/0-00000.parquet")).unlink()
    assert len(pairs(both(root)[1].labelled)) == NUM + 1


def test_batches_are_a_function_of_seed_and_number(root: Path):
    """Any batch in any order is the same: a training that resumes sees what it would have seen."""
    images = both(root)[1].labelled
    one, same, other = (Batches(images, 16, seed, Workers(), CPU) for seed in (0, 0, 1))
    numbers = [0, 1, 2, 9, 5, 20, 0]
    backwards = {number: same[number] for number in reversed(numbers)}
    for number in numbers:
        assert torch.equal(one[number].images, backwards[number].images)
        assert torch.equal(one[number].labels, backwards[number].labels)
    assert not torch.equal(one[3].images, other[3].images)


@pytest.mark.parametrize("world_size", [2, 3])
def test_workers_share_each_batch(root: Path, world_size: int):
    images = both(root)[1].labelled
    whole = Batches(images, 16, 0, Workers(), CPU)
    for number in (0, 8):
        for rank in range(world_size):
            part = Batches(images, 16, 0, OneOf(rank, world_size), CPU)[number]
            assert torch.equal(part.images, OneOf(rank, world_size).shard(whole[number].images))
            assert torch.equal(part.labels, OneOf(rank, world_size).shard(whole[number].labels))


def test_a_pass_shows_each_image_at_most_once(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream, "WINDOW", 3)
    images = both(root)[1].labelled.take(torch.arange(0, NUM, 2))
    batches = Batches(images, 10, 0, Workers(), CPU)
    passes = [[bytes(i.numpy()) for n in range(6) for i in batches[6 * p + n].images] for p in (0, 1)]
    for shown in passes:
        assert len(set(shown)) == len(shown) == 60
    assert passes[0] != passes[1] and set(passes[0]) == set(passes[1])


def test_windows_keep_row_groups_together():
    groups = torch.arange(1000) // 10
    order = windowed(groups, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(1000))
    for window in order.split(10 * stream.WINDOW):
        assert len(groups[window].unique()) <= stream.WINDOW
    first = groups[order[: 10 * stream.WINDOW]]
    assert int((first[1:] != first[:-1]).sum()) > 0.9 * len(first)


def test_judging_reads_every_image_once(root: Path):
    images = both(root)[1].labelled
    for world_size in (1, 2):
        seen = [
            (bytes(pixels.numpy()), int(images.labels[place]))
            for rank in range(world_size)
            for places, batch in in_order(images, 32, OneOf(rank, world_size), CPU)
            for place, pixels in zip(places, batch, strict=True)
        ]
        assert len(seen) == NUM and set(seen) == pairs(images)


def test_shifted_images_are_moved_when_they_are_read(root: Path):
    images = both(root)[1].labelled
    in_memory = Images(images.images, images.labels)
    shift = Shift(rotation=30, zoom_in=0.5)
    moved, expected = (shifted(each, shift, torch.Generator().manual_seed(0)) for each in (images, in_memory))
    rows = torch.tensor([5, 3, 77])
    assert torch.equal(moved.take(rows).images, expected.images[rows])
    assert not torch.equal(expected.images[rows], in_memory.images[rows])


def test_ahead_makes_the_next_ones_and_passes_errors_on():
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        if number == 7:
            raise DataError("broken")
        return 10 * number

    ahead = Ahead(make)
    assert ahead[0] == 0
    deadline = time.monotonic() + 10
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert made == [0, 1, 2]
    assert [ahead[1], ahead[5], ahead[5]] == [10, 50, 50]
    with pytest.raises(DataError, match="broken"):
        ahead[7]


def test_an_image_of_another_size(root: Path):
    write_files(root / "class1", {"odd.png": encoded(random_bytes(3, 9, 8))})
    with pytest.raises(DataError, match=r"has 8x9 pixels, \S* has 8x8; set data\.image_size"):
        load("image_folder", root, Reading(streaming=True))
    assert load("image_folder", root, Reading(streaming=True, image_size=8)).labelled.images.shape == (NUM + 1, 3, 8, 8)


def test_size_decides(root: Path, monkeypatch: pytest.MonkeyPatch):
    for limit, streams in ((NUM * 192, False), (NUM * 192 - 1, True)):
        monkeypatch.setattr("dabo_ray.data.sources.STREAMED_BYTES", limit)
        assert isinstance(load("image_folder", root).labelled.pixels, Shards) == streams
