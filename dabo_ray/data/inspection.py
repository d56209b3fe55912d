"""Every image of a data set is decoded once before any is used; all that cannot be are told of in one message."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from torch import Size, Tensor

from dabo_ray.data.decode import Decoder, ImageError
from dabo_ray.data.images import DataError
from dabo_ray.data.published import Encoded, Progress

NAMED = 20
"""Damaged files that a message names; of others there is the number."""

AT_ONCE = 256
"""Images that are decoded ahead of those that take them."""

Given = TypeVar("Given")
Made = TypeVar("Made")


class Inspection:
    """What is found out about the images of a data set while they are decoded.

    Args:
        decoder: that they are decoded with.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._first = ""
        self._shape: Size | None = None
        self._damaged: dict[str, str] = {}
        self._ways_out: dict[str, None] = {}
        self._looked_at = 0

    @property
    def shape(self) -> Size:
        """(3, H, W) of all images.

        Raises:
            DataError: none could be decoded.
        """
        self.finish()
        if self._shape is None:
            raise DataError("there is no image in the data set; look at data.root")
        return self._shape

    def attempt(self, part: Encoded, place: int, content: bytes | None = None) -> Tensor | DataError:
        """An image, or why there is none; for several threads at once."""
        try:
            return self._decoder(part.read(place) if content is None else content, part.names[place])
        except DataError as error:
            return error

    def take(self, attempted: Tensor | DataError, name: str) -> Tensor | None:
        """The image, or None if there is none; for one thread, in the order of the images.

        Raises:
            DataError: it has another size than the first one.
        """
        self._looked_at += 1
        if isinstance(attempted, ImageError):
            self._damaged[attempted.name] = attempted.reason
            self._ways_out[attempted.way_out] = None
            return None
        if isinstance(attempted, DataError):
            self._damaged[str(attempted)] = ""
            return None
        if self._shape is None:
            self._shape, self._first = attempted.shape, name
        elif attempted.shape != self._shape:
            raise DataError(
                f"{name} has {attempted.shape[2]}x{attempted.shape[1]} pixels, {self._first} has "
                f"{self._shape[2]}x{self._shape[1]}; set data.image_size to bring all images to one size"
            )
        return attempted

    def finish(self) -> None:
        """To be called when all images were taken.

        Raises:
            DataError: some could not be decoded.
        """
        if not self._damaged:
            return
        named = [f"{name} ({why})" if why else name for name, why in sorted(self._damaged.items())[:NAMED]]
        more = f", and {len(self._damaged) - NAMED:,} more" if len(self._damaged) > NAMED else ""
        raise DataError(
            f"{len(self._damaged):,} of {self._looked_at:,} images cannot be read: {', '.join(named)}{more}; "
            f"{', or '.join(self._ways_out) or 'get the files again'}"
        )


def inspect(parts: Sequence[Encoded], decoder: Decoder, progress: Progress) -> Size:
    """The shape (3, H, W) of images that are all there.

    Raises:
        DataError: some cannot be decoded or differ in size.
    """
    inspection = Inspection(decoder)
    for part in parts:
        attempts = in_threads(lambda place, part=part: inspection.attempt(part, place), range(len(part)))  # type: ignore[misc]
        for place, attempted in enumerate(attempts):
            inspection.take(attempted, part.names[place])
            progress(place + 1, len(part))
    return inspection.shape


def in_threads(make: Callable[[Given], Made], items: Sequence[Given]) -> Iterator[Made]:
    """As `map`, some at a time: what is made ahead must fit into memory."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for start in range(0, len(items), AT_ONCE):
                yield from pool.map(make, items[start : start + AT_ONCE])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
