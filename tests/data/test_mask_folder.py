"""Folders of images and masks: layouts, kinds of mask files, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dabo_ray.augment.masks import IGNORED
from dabo_ray.data.images import DataError, Images
from dabo_ray.data.sources import Reading, Source, load
from dabo_ray.data.splits import make_pools

NUM, SIDE = 12, 16


def truth(number: int) -> np.ndarray:
    """A mask whose classes are 0 to 2, another one for each number."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:, 4 + number % 8 :] = 1
    mask[12:, 3:9] = 2
    return mask


def picture(mask: np.ndarray) -> Image.Image:
    """An image from which the mask can be told."""
    return Image.fromarray(np.stack([mask * 100, 255 - mask * 80, mask * 0 + 30], -1))


def write(root: Path, image: str = "images/{:02d}.png", mask: str = "masks/{:02d}.png", kind: str = "L") -> Path:
    for number in range(NUM):
        classes = truth(number)
        for name, content in ((image, picture(classes)), (mask, as_kind(classes, kind))):
            path = root / name.format(number, split="test" if number < 3 else "train")
            path.parent.mkdir(parents=True, exist_ok=True)
            content.save(path)
    return root


def as_kind(mask: np.ndarray, kind: str) -> Image.Image:
    if kind == "P":
        image = Image.fromarray(mask)
        palette = image.convert("P")
        palette.putdata(mask.flatten().tolist())
        palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255] + [0] * 759)
        return palette
    if kind == "I;16":
        return Image.fromarray(mask.astype(np.uint16))
    if kind == "RGB":
        return Image.fromarray(np.stack([mask] * 3, -1))
    if kind == "1":
        return Image.fromarray(mask > 0)
    if kind == "black and white":
        return Image.fromarray((mask > 0).astype(np.uint8) * 255)
    return Image.fromarray(mask)


def read(root: Path, **settings: Any) -> Source:
    return load("segmentation_folder", root, Reading(cache=str(root.parent / "cache"), **settings))


def masks_of(images: Images) -> np.ndarray:
    return images.read_masks(torch.arange(len(images))).numpy()


@pytest.mark.parametrize("kind", ["L", "P", "I;16", "RGB"])
@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{:02d}.png", "masks/{:02d}.png"),
        ("set/JPEGImages/{:02d}.png", "set/SegmentationClass/{:02d}.png"),
        ("imgs/{:02d}.png", "labels/{:02d}_mask.png"),
    ],
)
def test_layouts_and_kinds_of_masks(image: str, mask: str, kind: str, tmp_path: Path) -> None:
    source = read(write(tmp_path / "data", image, mask, kind))
    assert source.test is None and source.num_classes == 3
    assert np.array_equal(masks_of(source.labelled), np.stack([truth(number) for number in range(NUM)]))
    pixels = source.labelled.read(torch.arange(NUM)).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(pixels, np.stack([np.asarray(picture(truth(number))) for number in range(NUM)]))


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{split}/images/{:02d}.png", "{split}/masks/{:02d}.png"),
        ("images/{split}/{:02d}.png", "masks/{split}/{:02d}.png"),
    ],
)
def test_splits_are_found(image: str, mask: str, tmp_path: Path) -> None:
    source = read(write(tmp_path / "data", image, mask))
    assert source.test is not None and (len(source.labelled), len(source.test)) == (9, 3)
    assert np.array_equal(masks_of(source.test), np.stack([truth(number) for number in range(3)]))


@pytest.mark.parametrize("kind", ["1", "black and white"])
def test_two_classes_in_black_and_white(kind: str, tmp_path: Path) -> None:
    source = read(write(tmp_path / "data", kind=kind))
    assert source.num_classes == 2
    assert np.array_equal(masks_of(source.labelled), np.stack([truth(number) > 0 for number in range(NUM)]))


@pytest.mark.parametrize("ignore_index", [255, 2, 0])
def test_ignored_pixels(ignore_index: int, tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    if ignore_index == 255:
        for path in (root / "masks").iterdir():
            mask = np.asarray(Image.open(path)).copy()
            mask[0] = 255
            Image.fromarray(mask).save(path)
    source = read(root, ignore_index=ignore_index)
    expected = np.stack([truth(number) for number in range(NUM)])
    if ignore_index == 255:
        expected[:, 0] = IGNORED
    else:
        expected[expected == ignore_index] = IGNORED
    assert np.array_equal(masks_of(source.labelled), expected)
    assert source.num_classes == (2 if ignore_index == 2 else 3)


def test_masks_are_resized_and_cut_as_their_images(tmp_path: Path) -> None:
    """Halves stay halves, and no class comes up that was not there."""
    root = tmp_path / "data"
    for number, (width, height) in enumerate([(40, 20), (20, 64), (33, 33)] * 4):
        mask = np.zeros((height, width), np.uint8)
        mask[:, width // 2 :] = 2
        for folder, image in (("images", Image.fromarray(mask * 100)), ("masks", Image.fromarray(mask))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            image.save(root / folder / f"{number}.png")
    source = read(root, image_size=16)
    masks = masks_of(source.labelled)
    assert masks.shape == (12, 16, 16) and set(np.unique(masks)) == {0, 2}
    grey = source.labelled.read(torch.arange(12))[:, 0].numpy()
    # A pixel that resizing has blended may be on either side.
    sure = (grey < 20) | (grey > 180)
    assert sure.mean() > 0.85
    assert np.array_equal(masks[sure] == 2, grey[sure] > 100)


def test_a_zip_is_read_where_it_lies(tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for path in sorted(root.rglob("*.png")):
            archive.write(path, path.relative_to(root))
    source = read(tmp_path / "data.zip")
    assert np.array_equal(masks_of(source.labelled), np.stack([truth(number) for number in range(NUM)]))


def test_masks_overwritten_where_they_lie_are_read_again(tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    read(root)
    Image.fromarray(truth(0) * 0 + 2).save(root / "masks" / "00.png")
    assert (masks_of(read(root).labelled)[0] == 2).all()


def drop(root: Path, name: str) -> None:
    (root / name).unlink()


def put(root: Path, name: str, mask: np.ndarray | Image.Image) -> None:
    (mask if isinstance(mask, Image.Image) else Image.fromarray(mask)).save(root / name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: drop(root, "masks/03.png"), r"1 of 12 images have no mask of the same name: images/03.png"),
        (lambda root: drop(root, "images/03.png"), r"1 of 12 masks have no image of the same name: masks/03.png; add"),
        (
            lambda root: put(root, "masks/03.png", np.zeros((8, 16), np.uint8)),
            r"masks/03.png \(it has 16x8 pixels",
        ),
        (
            lambda root: put(root, "masks/03.png", picture(truth(3))),
            r"masks/03.png \(it is in colours\)",
        ),
        (lambda root: put(root, "masks/03.png", truth(3).astype(np.uint16) * 999), r"reach from 0 to 1998\).*0 to 255"),
        (lambda root: (root / "masks/03.png").write_bytes(b"?"), r"masks/03.png \(of no format that Pillow knows\)"),
        (lambda root: put(root, "images/03.jpg", picture(truth(3))), r"images/03.* and images/03.* have the same name"),
        (lambda root: (root / "masks").rename(root / "other"), r"found 12 images and 0 masks of 24 files"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change: Any, words: str, tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    change(root)
    with pytest.raises(DataError, match=words):
        read(root)


def test_one_class_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "data")
    for path in (root / "masks").iterdir():
        put(root, f"masks/{path.name}", truth(0) * 0)
    with pytest.raises(DataError, match="the masks have 1 classes"):
        read(root)


def test_a_class_of_the_test_masks_alone_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "data", "{split}/images/{:02d}.png", "{split}/masks/{:02d}.png")
    put(root, "test/masks/00.png", truth(0) + 3)
    with pytest.raises(DataError, match="classes of the test set have no image to train on"):
        read(root)


def test_streaming_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="without masks"):
        read(write(tmp_path / "data"), streaming=True)


def test_scenes_are_the_same_each_time_and_share_no_digit() -> None:
    first, again = (load("segmentation_digits", "") for _ in range(2))
    assert first.labelled.digest() == again.labelled.digest()
    assert first.labelled.masks is not None and set(first.labelled.masks.unique().tolist()) == set(range(6))
    pools = make_pools(first, seed=0, select_fraction=0.1, test_fraction=0.25)
    assert len(pools.labelled) + len(pools.test) == len(first.labelled)
    quarters = first.labelled.masks.unfold(1, 12, 12).unfold(2, 12, 12).flatten(3)
    # One digit in each quarter, of one class.
    assert all(len(set(quarter.tolist()) - {0}) == 1 for quarter in quarters.flatten(0, 2))
