"""Damaged images: all named in one message, and before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dabo_ray.data import inspection
from dabo_ray.data.images import DataError
from dabo_ray.data.sources import Reading, load
from dabo_ray.data.stream import Shards
from tests.data.miniatures import as_jpeg, encoded, hub_parquet, random_bytes, smooth, write_files, write_zip

JPEG = as_jpeg(smooth(0, 64, 64))[0]
CUT = JPEG[:-40]


def files(part: str = "", num: int = 12) -> dict[str, bytes]:
    return {f"{part}{c}/{i}.jpg": as_jpeg(smooth(i, 64, 64))[0] for c in "ab" for i in range(num)}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_all_damaged_files_are_named_in_one_message(
    streaming: bool, packed: bool, tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    damaged = {"a/0.jpg": b"junk", "a/3.jpg": CUT, "b/2.jpg": b""}
    root = tmp_path / ("x.zip" if packed else "x")
    (write_zip if packed else write_files)(root, files() | damaged)
    with pytest.raises(DataError, match="3 of 24 images cannot be read") as told:
        load("image_folder", root, Reading(streaming=streaming))
    message = str(told.value)
    assert all(name in message for name in damaged)
    assert "a/3.jpg (image file is truncated" in message and "b/2.jpg (the file is empty)" in message
    assert message.endswith("; get what is damaged again or take it out") and "BytesIO" not in message
    assert not [path for path in cache_folder.rglob("*") if path.suffix != ".lock"]
    monkeypatch.setattr(inspection, "NAMED", 1)
    with pytest.raises(DataError, match=r"3 of 24 images cannot be read: .*, and 2 more; get"):
        load("image_folder", root, Reading(streaming=streaming))


@pytest.mark.parametrize("streaming", [False, True])
def test_a_truncated_test_image_is_found_at_the_start(streaming: bool, tmp_path: Path):
    write_files(tmp_path / "x", files("train/") | files("test/", 3) | {"test/b/2.jpg": CUT})
    with pytest.raises(DataError, match=r"1 of 30 images cannot be read: test/b/2\.jpg \(image file is truncated"):
        load("image_folder", tmp_path / "x", Reading(streaming=streaming, image_size=16))


@pytest.mark.parametrize("streaming", [False, True])
def test_damaged_rows_of_parquet(streaming: bool, tmp_path: Path):
    images = [JPEG] * 6
    hub_parquet(tmp_path / "train" / "0.parquet", images, [0, 1] * 3)
    hub_parquet(tmp_path / "test" / "0.parquet", [*images[:5], CUT], [0, 1] * 3)
    hub_parquet(tmp_path / "train" / "1.parquet", [JPEG, b"junk", *images[:4]], [0, 1] * 3)
    with pytest.raises(DataError, match="2 of 18 images") as told:
        load("parquet", tmp_path, Reading(streaming=streaming))
    assert "row 1 of train/1.parquet (" in str(told.value) and "row 5 of test/0.parquet (" in str(told.value)


def test_parquet_is_looked_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "hub" / "x.parquet"
    hub_parquet(file, [JPEG] * 6, [0, 1] * 3)
    reading = Reading(streaming=True)
    load("parquet", tmp_path / "hub", reading)
    with monkeypatch.context() as patch:
        patch.setattr("dabo_ray.data.in_place.inspect", lambda *_: pytest.fail("looked through again"))
        assert load("parquet", tmp_path / "hub", reading).labelled.shape == (3, 64, 64)
    hub_parquet(file, [*[JPEG] * 5, CUT], [0, 1] * 3)
    with pytest.raises(DataError, match="row 5"):
        load("parquet", tmp_path / "hub", reading)


def test_images_that_are_lost_later_are_named(tmp_path: Path):
    """The shards are cut short after they were made."""
    write_files(tmp_path / "x", files())
    images = load("image_folder", tmp_path / "x", Reading(streaming=True)).labelled
    assert isinstance(images.pixels, Shards)
    images.pixels.decoder = lambda content, name: pytest.fail(name)  # type: ignore[assignment]
    with pytest.raises(BaseException, match=r"^[ab]/\d+\.jpg$"):
        images.read(torch.tensor([0]))


def test_a_damaged_first_image_does_not_hide_the_others(tmp_path: Path):
    damaged = {"a/0.png": b"junk", "b/1.png": b"junk"}
    good = {f"{c}/{i}.png": encoded(random_bytes(3, 8, 8)) for c in "ab" for i in range(3)}
    write_files(tmp_path / "x", good | damaged)
    with pytest.raises(DataError, match=r"2 of 6 images .* a/0\.png .* b/1\.png"):
        load("image_folder", tmp_path / "x")
    write_files(tmp_path / "y", {name: b"junk" for name in good})
    for streaming in (None, True):
        with pytest.raises(DataError, match="6 of 6 images cannot be read"):
            load("image_folder", tmp_path / "y", Reading(streaming=streaming))
