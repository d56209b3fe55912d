"""Encoded images by row number, decoded in parallel and ahead of time; the order stays a function of seed and pass."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from dabo_ray.data.decode import Decoder
from dabo_ray.data.images import DataError

if TYPE_CHECKING:
    # A training loop of its own with images in memory needs no pyarrow.
    from dabo_ray.data.tables import Table

WINDOW = 32
"""Row groups whose rows are mixed with each other."""

KEPT = 2 * WINDOW
"""Row groups kept in memory: those of a window of the images to train on, and of the outer ones."""

AHEAD = 2
"""Batches that are made before they are asked for."""

Made = TypeVar("Made")


class Shards:
    """The images of a table of encoded ones.

    Args:
        table: of encoded images.
        decoder: from a file to pixels.
        height: of all decoded images.
        width: of all decoded images.
        name_of: of the image in a row, for messages.
    """

    def __init__(
        self,
        table: Table,
        decoder: Decoder,
        height: int,
        width: int,
        name_of: Callable[[int], str] = "row {}".format,
    ) -> None:
        self._name_of = name_of
        self.table = table
        self.decoder = decoder
        self.shape = torch.Size((int(table.starts[-1]), 3, height, width))
        self._pool = ThreadPoolExecutor(max(1, torch.get_num_threads()), thread_name_prefix="decode")
        self._files = functools.lru_cache(KEPT)(table.read_group)

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """The images of (B,) rows, (B, 3, H, W) uint8.

        Raises:
            DataError: an image is damaged or of another size than the first.
        """
        if not len(rows):
            return torch.empty((0, *self.shape[1:]), dtype=torch.uint8)
        groups = self.row_groups(rows).tolist()
        files = dict(zip(set(groups), self._pool.map(self._files, set(groups)), strict=True))
        places = zip(groups, rows.tolist(), strict=True)
        content = [(files[group][row - int(self.table.starts[group])], row) for group, row in places]
        return torch.stack(list(self._pool.map(self._decoded, content)))

    def row_groups(self, rows: Tensor) -> Tensor:
        """The row group of each row."""
        return torch.from_numpy(np.searchsorted(self.table.starts, rows.numpy(), side="right") - 1)

    def _decoded(self, file_and_row: tuple[Any, int]) -> Tensor:
        file, row = file_and_row
        image = self.decoder(file.as_py() or b"", self._name_of(row))
        if image.shape != self.shape[1:]:
            raise DataError(
                f"{self._name_of(row)} has {image.shape[2]}x{image.shape[1]} pixels, the first one "
                f"{self.shape[3]}x{self.shape[2]}; set data.image_size to bring all images to one size"
            )
        return image


def windowed(groups: Tensor, generator: torch.Generator) -> Tensor:
    """A random order of (N,) images in which those of a row group come close to each other.

    The row groups are put into a random order, and within each `WINDOW` of them the images are mixed.
    """
    mixed = torch.randperm(int(groups.max()) + 1, generator=generator)[groups]
    # Of the row groups that hold any of the images, which one it is in the random order.
    _, place = torch.unique(mixed, return_inverse=True)
    order = torch.randperm(len(groups), generator=generator)
    return order[torch.argsort(place[order] // WINDOW, stable=True)]


class Ahead(Generic[Made]):
    """Makes the next items of a sequence in the background.

    Args:
        make: an item by its number, called by one thread at a time.
    """

    def __init__(self, make: Callable[[int], Made]) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._made: dict[int, Future[Made]] = {}

    def __getitem__(self, number: int) -> Made:
        """The item of this number, and those after it are begun.

        Raises:
            Exception: whatever made `make` fail for this item.
        """
        wanted = range(number, number + 1 + AHEAD)
        for left in [made for made in self._made if made not in wanted]:
            self._made.pop(left).cancel()
        for each in wanted:
            if each not in self._made:
                self._made[each] = self._thread.submit(self._make, each)
        return self._made[number].result()
