"""Image files that are looked at where they lie, before anything is converted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from dabo_ray.data.images import DataError
from dabo_ray.data.rgb import ORIENTATION
from dabo_ray.data.sources import Reading, load
from dabo_ray.data.unconverted import Unconverted
from tests.data.miniatures import encoded, mnist, random_bytes, write_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in ("a", "b"):
        files = {f"{i}.png": encoded(random_bytes(3, 12, 16, seed=i)) for i in range(6)}
        write_files(tmp_path / "images" / label, files)
    return tmp_path


def test_images_are_those_of_the_cache_and_nothing_is_written(folder: Path):
    cache = folder / "cache"
    looked_at = load("image_folder", folder / "images", Reading(cache=str(cache), image_size=8, convert=False))
    assert not cache.exists()
    converted = load("image_folder", folder / "images", Reading(cache=str(cache), image_size=8))
    rows = torch.tensor([0, 7, 11])
    assert torch.equal(looked_at.labelled.read(rows), converted.labelled.read(rows))
    assert torch.equal(looked_at.labelled.labels, converted.labelled.labels)
    assert looked_at.classes == converted.classes == ["a", "b"]
    assert looked_at.labelled.read(torch.tensor([], dtype=torch.long)).shape == (0, 3, 8, 8)


def test_sizes_are_those_of_upright_images(folder: Path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.new("RGB", (40, 30)).save(folder / "images" / "a" / "turned.jpg", exif=exif)
    pixels = load("image_folder", folder / "images", Reading(image_size=8, convert=False)).labelled.pixels
    assert isinstance(pixels, Unconverted)
    assert pixels.sizes == {(16, 12): 12, (30, 40): 1}


def test_images_of_several_sizes_need_one(folder: Path):
    Image.new("RGB", (40, 30)).save(folder / "images" / "a" / "other.png")
    with pytest.raises(DataError, match=r"images of 16x12 and of 40x30 pixels; set data\.image_size"):
        load("image_folder", folder / "images", Reading(convert=False))


def test_files_that_cannot_be_read(folder: Path):
    for file in (folder / "images").glob("*/*.png"):
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"none of the images can be read, such as a/0\.png"):
        load("image_folder", folder / "images", Reading(convert=False))


def test_a_data_set_that_is_no_image_files_is_read(tmp_path: Path):
    (pixels, labels), _ = mnist(tmp_path)
    source = load("mnist", tmp_path, Reading(cache=str(tmp_path / "cache"), convert=False))
    assert torch.equal(source.labelled.images, pixels) and torch.equal(source.labelled.labels, labels)
    assert not (tmp_path / "cache").exists()
