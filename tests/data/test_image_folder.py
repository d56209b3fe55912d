"""Trees of a user's own images: what is skipped, what is left out, and what was changed where it lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from dabo_ray.data.images import DataError
from dabo_ray.data.sources import Reading, load
from tests.data.miniatures import bach, encoded, hub_parquet, random_bytes, tiny_imagenet, write_files, write_zip

PNG = encoded(random_bytes(3, 8, 8))
JUNK = bytes(80)
HIDDEN = {
    **{".ipynb_checkpoints/0-checkpoint.png": PNG, "a/.ipynb_checkpoints/0-checkpoint.png": PNG, ".git/x.png": PNG},
    **{"a/._0.png": JUNK, "__MACOSX/a/._0.png": JUNK, "b/Thumbs.db": JUNK, "b/desktop.ini": JUNK, ".DS_Store": JUNK},
    **{"@eaDir/a/0.png/SYNOFILE_THUMB_M.jpg": JUNK, "$RECYCLE.BIN/0.png": JUNK, "b/~$0.png": JUNK},
}
IMAGES = {f"{label}/{i}.png": encoded(random_bytes(3, 8, 8, seed=i)) for label in "ab" for i in range(3)}


@pytest.mark.parametrize("packed", [False, True])
def test_hidden_and_system_files_are_skipped_and_counted(packed: bool, tmp_path: Path):
    root = tmp_path / ("x.zip" if packed else "x")
    (write_zip if packed else write_files)(root, IMAGES | HIDDEN)
    source = load("image_folder", root)
    assert len(source.labelled) == 6 and source.num_classes == 2
    # Of a folder that is hidden itself, what is in it is not counted.
    (note,) = source.notes
    assert "skipped 11 hidden or system files and folders: " in note and ".ipynb_checkpoints (2)" in note


def test_hidden_files_of_other_data_sets(tmp_path: Path):
    files, train, _ = tiny_imagenet()
    write_files(tmp_path / "tiny-imagenet-200", files | {"train/n01443537/images/._n01443537_0.JPEG": JUNK})
    assert len(load("tiny_imagenet", tmp_path).labelled) == len(train[0])
    bach(tmp_path / "bach", per_class=1)
    write_files(tmp_path / "bach" / "Photos" / "Normal", {"._n001.tif": JUNK})
    assert len(load("bach", tmp_path / "bach", Reading(image_size=8)).labelled) == 8
    hub_parquet(tmp_path / "hub" / "x.parquet", [PNG] * 4, [0, 1] * 2)
    write_files(tmp_path / "hub", {"._x.parquet": JUNK, ".ipynb_checkpoints/x.parquet": JUNK})
    source = load("parquet", tmp_path / "hub")
    assert len(source.labelled) == 4 and "skipped 2 hidden Parquet files" in source.notes[0]


def test_what_is_left_out_is_counted(tmp_path: Path):
    other = {"a/notes.txt": b"x", "README.md": b"x", "a/0.heic": b"x", "b/1.HEIC": b"x", "labels": b"x"}
    write_files(tmp_path / "x", IMAGES | other)
    source = load("image_folder", tmp_path / "x")
    assert len(source.labelled) == 6
    assert source.notes[0].endswith(
        "left out 5 files that are no images by their names: .heic (2), .md (1), .txt (1), without a suffix (1)"
    )
    write_files(tmp_path / "y", other)
    with pytest.raises(DataError, match=r"found 0 images and 0 classes; .*; left out 5 files .* \.heic \(2\)"):
        load("image_folder", tmp_path / "y")


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "JPG", "apng", "dib"])
def test_other_names_of_formats(suffix: str, tmp_path: Path):
    kind = {"apng": "png", "dib": "bmp"}.get(suffix, "jpeg")
    write_files(tmp_path / "x", IMAGES | {f"a/more.{suffix}": encoded(random_bytes(3, 8, 8), kind)})
    source = load("image_folder", tmp_path / "x")
    assert len(source.labelled) == 7 and not source.notes


def test_links_are_followed_and_those_to_nowhere_counted(tmp_path: Path):
    write_files(tmp_path / "elsewhere", {"0.png": PNG, "1.png": PNG})
    write_files(tmp_path / "x", IMAGES)
    (tmp_path / "x" / "c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "x" / "a" / "round").symlink_to(tmp_path / "x")
    (tmp_path / "x" / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    source = load("image_folder", tmp_path / "x")
    assert len(source.labelled) == 8 and source.num_classes == 3
    assert "links to nowhere (1)" in source.notes[0]


def test_names_that_are_not_utf8_are_refused(tmp_path: Path):
    write_files(tmp_path / "x", IMAGES)
    (tmp_path / "x" / "a" / os.fsdecode(b"caf\xe9.png")).write_bytes(PNG)
    with pytest.raises(DataError, match=r"b'a/caf\\xe9\.png' is not UTF-8; rename it"):
        load("image_folder", tmp_path / "x")


@pytest.mark.parametrize("streaming", [False, True])
def test_images_overwritten_where_they_lie(streaming: bool, tmp_path: Path):
    """Of the same size in bytes: the time alone tells them apart."""
    write_files(tmp_path / "x", {name: encoded(random_bytes(3, 8, 8), "bmp") for name in ("a/0.bmp", "b/0.bmp")})
    reading = Reading(streaming=streaming)
    before = load("image_folder", tmp_path / "x", reading).labelled.images.clone()
    new = random_bytes(3, 8, 8, seed=9)
    target = tmp_path / "x" / "b" / "0.bmp"
    size = target.stat().st_size
    target.write_bytes(encoded(new, "bmp"))
    assert target.stat().st_size == size
    after = load("image_folder", tmp_path / "x", reading).labelled.images
    changed = [not any(torch.equal(image, old) for old in before) for image in after]
    assert changed.count(True) == 1 and any(torch.equal(image, new) for image in after)


def test_published_files_overwritten_where_they_lie(tmp_path: Path):
    files, train, _ = tiny_imagenet()
    folder = tmp_path / "tiny-imagenet-200"
    write_files(folder, files)
    assert torch.equal(load("tiny_imagenet", tmp_path).labelled.images, train[0])
    first, second = sorted(name for name in files if name.endswith(".JPEG") and name.startswith("train/"))[:2]
    (folder / first).write_bytes(files[second])
    assert torch.equal(load("tiny_imagenet", tmp_path).labelled.images[0], train[0][1])
    bach(tmp_path / "b", per_class=1)
    before = load("bach", tmp_path / "b", Reading(image_size=8, streaming=False)).labelled.images[0]
    target = tmp_path / "b" / "Photos" / "Normal" / "n001.tif"
    target.write_bytes(encoded(255 - random_bytes(3, 512, 1024), "tiff"))
    after = load("bach", tmp_path / "b", Reading(image_size=8, streaming=False)).labelled.images[0]
    assert not torch.equal(before, after)


def test_files_that_are_no_images_do_not_make_the_cache_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_files(tmp_path / "x", IMAGES)
    load("image_folder", tmp_path / "x")
    write_files(tmp_path / "x", HIDDEN | {"README.md": b"x"})
    monkeypatch.setattr("dabo_ray.data.arrow._write", lambda *_: pytest.fail("written again"))
    assert len(load("image_folder", tmp_path / "x").labelled) == 6
