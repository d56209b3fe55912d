"""Data sets by the names of the study file, from their published files through the cache."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dabo_ray.augment.masks import IGNORED
from dabo_ray.data import shards
from dabo_ray.data.arrow import Cached, cached
from dabo_ray.data.bach import bach, test_names
from dabo_ray.data.cifar import cifar10, cifar100
from dabo_ray.data.csv_files import csv_files
from dabo_ray.data.decode import Decoder
from dabo_ray.data.folders import imagenet, tiny_imagenet
from dabo_ray.data.groups import group_notes, grouped
from dabo_ray.data.idx import fashion_mnist, mnist
from dabo_ray.data.image_folder import image_folder
from dabo_ray.data.images import DataError, Images
from dabo_ray.data.mask_decode import MaskDecoder
from dabo_ray.data.mask_folder import mask_folder, with_masks
from dabo_ray.data.own_dataset import own_dataset
from dabo_ray.data.parquet import parquet
from dabo_ray.data.published import Encoded, Progress, Published, silent
from dabo_ray.data.scenes import NUM_CLASSES, digit_scenes
from dabo_ray.data.unconverted import as_published

STREAMED_BYTES = 2 * 2**30
"""Data sets that take more than this when decoded stay encoded, unless the study says otherwise."""

DARK, DARK_PROBES = 32, 16
"""Images of which none has a pixel this bright are told of, and how many are looked at."""

LOCAL: dict[str, Callable[[Path], Published]] = {
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "tiny_imagenet": tiny_imagenet,
    "imagenet": imagenet,
    "bach": bach,
    "image_folder": image_folder,
    "csv": csv_files,
    "segmentation_folder": mask_folder,
}
IMPORTED = "imported"
FORMATS: dict[str, Callable[[str], Published]] = {
    **{name: (lambda root, find=find: find(Path(root))) for name, find in LOCAL.items()},  # type: ignore[misc]
    "parquet": parquet,
    IMPORTED: own_dataset,
}
"""Name -> what finds its files below a root, or imports what that names; the data sets of digits have none."""


@dataclass(frozen=True)
class Source:
    """A data set as published: labelled images and, if it has one, its test set."""

    labelled: Images
    test: Images | None
    num_classes: int

    classes: Sequence[str] = ()
    """Names of the classes; empty: they have none."""

    notes: Sequence[str] = ()
    """Lines for the user: how the files were understood, and what was left out."""


@dataclass(frozen=True)
class Reading:
    """How a data set is read."""

    cache: str = ""
    """Folder of caches; empty: `dabo_ray` in the user's cache folder. For encoded ones also `s3://`, `gs://`."""

    image_size: int | None = None
    """Side of the images; None: as published."""

    streaming: bool | None = None
    """Whether images stay encoded; None: if they are large."""

    fold: str = ""
    """Folder with the file test*.csv that names the test images; empty: there is none."""

    intensity_range: tuple[float, float] | None = None
    """Black and white of grey images with more than 8 bits; None: see `rgb`."""

    ignore_index: int = IGNORED
    """Value of the pixels of mask files that do not count."""

    groups: str = ""
    """What stays together in splits, see `grouped`; empty: there are no groups."""

    convert: bool = True
    """Whether images come through the cache; otherwise nothing is written, and they are decoded when asked for."""

    progress: Progress = silent
    """Told how far a conversion is."""


def load(name: str, root: str | Path, reading: Reading = Reading()) -> Source:
    """A data set by its name in the study file.

    Raises:
        DataError: its files are missing, truncated or not what they should be.
    """
    if name == "digits":
        return _digits()
    if name == "segmentation_digits":
        digits = _digits().labelled
        pixels, masks = digit_scenes(digits.images, digits.labels)
        return Source(Images(pixels, torch.zeros(len(pixels), dtype=torch.int64), masks=masks), None, NUM_CLASSES)
    published = find(name, str(root))
    size = reading.image_size or published.image_size
    decoder = Decoder(size, published.resize_over_crop, reading.intensity_range)
    folder = reading.cache or default_cache()
    key = f"{name}-{_short_digest(name, str(root))}" + (f"-{size}px" if size else "")
    if reading.intensity_range:
        key += "-{:g}-{:g}".format(*reading.intensity_range)
    if reading.convert:
        found = _converted(published, f"{folder}/{key}", decoder, reading)
    else:
        found = as_published(published, decoder)
    if published.masks is not None:
        found = _with_masks(found, published.masks, f"{folder}/{key}-masks", reading)
    if reading.groups:
        found = grouped(found, published, reading.groups, str(root))
    notes = [*published.notes, *(_dark(found.labelled) if found.names is not None else [])]
    labelled, test = _fold(found, Path(reading.fold)) if reading.fold else (found.labelled, found.test)
    return Source(labelled, test, found.num_classes, published.classes, [*notes, *group_notes(labelled, test)])


def _converted(published: Published, place: str, decoder: Decoder, reading: Reading) -> Cached:
    """The images through the cache at a place without a suffix, which is made if there is none."""
    streaming = published.streaming if reading.streaming is None else reading.streaming
    if streaming is None:
        streaming = _is_large(published, decoder)
    if published.masks is not None and streaming:
        raise DataError(f"data.streaming is for images without masks, which lie in memory; {published.title} has some")
    if streaming:
        return shards.streamed(published, place, decoder, reading.progress)
    if "://" in place:
        raise DataError(f"data.cache is {reading.cache}; images that are not streamed need a local folder")
    return cached(published, Path(f"{place}.arrow"), decoder, reading.progress)


def _with_masks(found: Cached, published: Published, place: str, reading: Reading) -> Cached:
    decoder = MaskDecoder(reading.image_size)
    if reading.convert:
        classes = cached(published, Path(f"{place}.arrow"), decoder, reading.progress)
    else:
        classes = as_published(published, decoder)
    return with_masks(found, classes, reading.ignore_index)


def find(name: str, root: str) -> Published:
    """The published files of a data set.

    Raises:
        DataError: they are missing.
    """
    try:
        return FORMATS[name](root)
    except OSError as error:
        raise DataError(f"{root} cannot be read ({error.strerror or error}); look at data.root") from None


def default_cache() -> str:
    """Of this node and user, as the XDG base directory specification has it."""
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dabo_ray")


def _short_digest(name: str, root: str) -> str:
    place = root if "://" in root or name == IMPORTED else str(Path(root).absolute())
    return hashlib.blake2b(place.encode(), digest_size=4).hexdigest()


def _dark(images: Images) -> list[str]:
    """A line if no pixel of some images that stand for all is bright."""
    some = images.read(torch.linspace(0, len(images) - 1, min(DARK_PROBES, len(images))).long())
    if len(some) == 0 or (brightest := int(some.max())) >= DARK:
        return []
    return [
        f"the brightest pixel of {len(some)} images is {brightest} of 255: if the files have values of more than 8 "
        "bits that leave most of their range empty, set data.intensity_range to [BLACK, WHITE]"
    ]


def _is_large(published: Published, decoder: Decoder) -> bool:
    labelled, _ = published.parts()
    if not isinstance(labelled, Encoded):
        return False
    side = decoder.image_size
    return len(labelled) * (3 * side * side if side else _bytes_of_one(labelled, decoder)) > STREAMED_BYTES


def _bytes_of_one(images: Encoded, decoder: Decoder) -> int:
    """Of the first that can be decoded; those that cannot are told of when all are."""
    for place in range(len(images)):
        with contextlib.suppress(DataError):
            return decoder(images.read(place), images.names[place]).numel()
    return 0


def _fold(found: Cached, folder: Path) -> tuple[Images, Images]:
    """Labelled and test images of a published fold."""
    if found.test is not None or found.names is None:
        raise DataError("data.fold is for data sets of image files without a published test set; remove it")
    wanted = test_names(folder)
    if missing := sorted(wanted - {*found.names}):
        raise DataError(f"data.fold: {folder} names {len(missing)} images that are not there, first {missing[0]}")
    is_test = torch.tensor([name in wanted for name in found.names])
    return tuple(found.labelled.take(torch.nonzero(which).flatten()) for which in (~is_test, is_test))  # type: ignore[return-value]


def _digits() -> Source:
    """The 1,797 handwritten digits of 8x8 pixels that come with scikit-learn (Alpaydin and Kaynak, 1998)."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    grey = torch.from_numpy(pixels).mul(255 / 16).round().to(torch.uint8)
    return Source(Images(grey.reshape(-1, 1, 8, 8), torch.from_numpy(labels).long()), None, 10)
