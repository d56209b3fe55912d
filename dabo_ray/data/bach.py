"""BACH, part A of ICIAR 2018 (Aresta et al., 2019): 400 microscopy images of 2048x1536 pixels in four classes."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from dabo_ray.data.hidden import hidden_part
from dabo_ray.data.images import DataError
from dabo_ray.data.published import Encoded, Published, fingerprint_of

CLASSES = ("Normal", "Benign", "InSitu", "Invasive")
SIDE = 512
"""Of the patches, which do not overlap and cover the image: 12 of each."""

LABELS_FILE = "microscopy_ground_truth.csv"


def bach(root: Path) -> Published:
    """Patches of the labelled images, in Photos/CLASS/*.tif; the images of the challenge's test have no labels.

    All patches of an image are in the same part, and it is judged by their vote.
    """
    places = [root / "ICIAR2018_BACH_Challenge" / "Photos", root / "Photos", root / "bach" / "Photos", root]
    photos = next((place for place in places if all((place / name).is_dir() for name in CLASSES)), None)
    if photos is None:
        raise DataError(
            f"BACH not found: looked for folders {', '.join(CLASSES)} in {', '.join(map(str, places))}. Get "
            "ICIAR2018_BACH_Challenge.zip from https://zenodo.org/records/3632035 and unpack it"
        )
    watched = [file for file, _ in _files(photos)]
    return Published("BACH", fingerprint_of(watched), len(CLASSES), lambda: (_patches(photos), None), streaming=True)


def _patches(photos: Path) -> Encoded:
    files = _files(photos)
    if missing := [name for label, name in enumerate(CLASSES) if label not in {number for _, number in files}]:
        raise DataError(f"{photos} has no .tif images of {', '.join(missing)}; get the data set again")
    _check_labels(photos / LABELS_FILE, files)
    names, labels, wholes, boxes = [], [], [], []
    for whole, (file, label) in enumerate(files):
        for left, top in _corners(file):
            names.append(file.name)
            labels.append(label)
            wholes.append(whole)
            boxes.append((left, top))

    # Of this reading alone: a file may be another one the next time.
    image_of = functools.lru_cache(maxsize=8)(_image)

    def read(place: int) -> bytes:
        left, top = boxes[place]
        patch = image_of(files[wholes[place]][0]).crop((left, top, left + SIDE, top + SIDE))
        buffer = io.BytesIO()
        # Lossless, and quick to write.
        patch.save(buffer, "png", compress_level=1)
        return buffer.getvalue()

    return Encoded(names, labels, read, wholes)


def _files(photos: Path) -> list[tuple[Path, int]]:
    """Images with their labels."""
    found = ((file, label) for label, name in enumerate(CLASSES) for file in sorted((photos / name).glob("*.tif")))
    return [(file, label) for file, label in found if hidden_part(file.name) is None]


def _corners(file: Path) -> list[tuple[int, int]]:
    try:
        with Image.open(file) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{file} is not an image that can be read ({error}); get the data set again") from None
    if width < SIDE or height < SIDE:
        raise DataError(f"{file} is {width}x{height}, smaller than a patch of {SIDE}; get the data set again")
    return [(x, y) for y in range(0, height - SIDE + 1, SIDE) for x in range(0, width - SIDE + 1, SIDE)]


def _image(file: Path) -> Image.Image:
    try:
        return Image.open(file).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{file} is not an image that can be read ({error}); get the data set again") from None


def _check_labels(path: Path, files: Sequence[tuple[Path, int]]) -> None:
    """The published list of labels, if it lies beside the folders, must say the same as the folders."""
    if not path.is_file():
        return
    listed = read_pairs(path)
    for file, label in files:
        says = listed.get(file.name, CLASSES[label])
        if says != CLASSES[label]:
            raise DataError(f"{file} lies in {CLASSES[label]}, but {path} says {says}; get the data set again")


def read_pairs(path: Path) -> dict[str, str]:
    """File name without its folder -> class, of a csv of `path,class` lines.

    Raises:
        DataError: it cannot be read, or a line has no class.
    """
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); it must hold lines `image.tif,class`") from None
    if short := [row for row in rows if len(row) < 2]:
        raise DataError(f"{path} has the line {short[0]}; lines must be `image.tif,class`")
    return {row[0].replace("\\", "/").rsplit("/", 1)[-1].strip(): row[1].strip() for row in rows}


def test_names(folder: Path) -> set[str]:
    """Names of the test images of a fold: of the csv file whose name starts with `test`, in a folder.

    Raises:
        DataError: there is none, or more than one.
    """
    found = sorted(folder.glob("test*.csv"))
    if len(found) != 1:
        raise DataError(f"data.fold: looked for one file test*.csv in {folder}, found {len(found)}")
    return set(read_pairs(found[0]))
