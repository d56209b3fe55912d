"""A data set in its published form: its files, and the images that are read from them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dabo_ray.data.images import Images
from dabo_ray.data.tables import Table

Progress = Callable[[int, int], None]
"""Takes images done and images in all."""


def silent(done: int, total: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Encoded:
    """Labelled image files that are not decoded yet."""

    names: Sequence[str]
    """Of each image, for messages; of a patch, the larger image's name."""

    labels: Sequence[int]

    read: Callable[[int], bytes]
    """The file of an image by its place; may be called from several threads."""

    wholes: Sequence[int] | None = None
    """For patches: the number of the larger image, from 0, in order."""

    table: Table | None = None
    """Parquet files whose rows are these images."""

    columns: Mapping[str, Sequence[str]] | None = None
    """Of a CSV: its other columns, with a value for each image."""

    def __len__(self) -> int:
        return len(self.labels)


Part = Images | Encoded


@dataclass(frozen=True)
class Published:
    """A data set whose files were found."""

    title: str
    """For messages."""

    fingerprint: str
    """Changes when the files do."""

    num_classes: int

    parts: Callable[[], tuple[Part, Part | None]]
    """Reads labelled images and the published test set, if there is one."""

    streaming: bool | None = False
    """Whether its images stay encoded, unless the study says otherwise; None: if they would take much memory."""

    image_size: int | None = None
    """Side to which its images are brought unless the study says otherwise; None: they are of one size."""

    resize_over_crop: float = 1.0
    """The short side is brought to this times the image size before the middle is cut out."""

    classes: Sequence[str] = ()
    """Names of the classes, by their numbers; empty: they have none."""

    notes: Sequence[str] = ()
    """Lines for the user: how the files were understood, and what was left out."""

    masks: Published | None = None
    """The classes of pixels as images of their own, in the same order; None: there are none."""


def fingerprint(files: Iterable[tuple[str, int | None, int]]) -> str:
    """Of names, sizes and times of change."""
    digest = hashlib.blake2b(digest_size=12)
    for file in files:
        digest.update(f"{file}\n".encode())
    return digest.hexdigest()


def fingerprint_of(paths: Sequence[Path]) -> str:
    """Of files, and of folders, whose time changes when a file is added, replaced or taken out."""
    stats = [(path, path.stat()) for path in paths]
    return fingerprint((path.name, stat.st_size, stat.st_mtime_ns) for path, stat in stats)
