"""Image files that are looked at where they lie, a few of them, before anything is converted."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Size, Tensor

from dabo_ray.data.arrow import Cached
from dabo_ray.data.decode import Decoder
from dabo_ray.data.images import DataError, Images
from dabo_ray.data.inspection import in_threads
from dabo_ray.data.published import Encoded, Part, Published

NUM_LOOKED_AT = 256
"""Files whose sizes are read, evenly spaced."""


def sizes_of(part: Encoded, decoder: Decoder) -> Counter[tuple[int, int]]:
    """(width, height) of upright images as they are in their files, of evenly spaced ones of many.

    Raises:
        DataError: none can be read.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    for place in range(0, len(part), max(1, len(part) // NUM_LOOKED_AT)):
        # What cannot be read is told of, with all others, when the images are converted.
        with contextlib.suppress(DataError):
            sizes[decoder.size_of(part.read(place), part.names[place])] += 1
    if not sizes:
        raise DataError(f"none of the images can be read, such as {part.names[0]}; look at data.root")
    return sizes


class Unconverted:
    """Pixels of a part, decoded when they are asked for, and never kept.

    Args:
        part: image files.
        decoder: of them.

    Raises:
        DataError: none can be read, or they differ in size and are to be brought to none.
    """

    def __init__(self, part: Encoded, decoder: Decoder) -> None:
        self._part = part
        self._decoder = decoder
        self.sizes = sizes_of(part, decoder)
        """(width, height) of the files that were looked at."""
        side = decoder.image_size
        if side is None and len(self.sizes) > 1:
            (one, _), (other, _) = self.sizes.most_common(2)
            raise DataError(
                f"there are images of {one[0]}x{one[1]} and of {other[0]}x{other[1]} pixels; set data.image_size to "
                "bring all images to one size"
            )
        width, height = (side, side) if side else next(iter(self.sizes))
        self.shape = Size((len(part), decoder.CHANNELS, height, width))

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """The images of (B,) rows, (B, 3, H, W) uint8; of masks (B, 1, H, W).

        Raises:
            ImageError: one cannot be decoded.
        """
        part = self._part

        def decoded(place: int) -> Tensor:
            return self._decoder(part.read(place), part.names[place])

        images = list(in_threads(decoded, rows.tolist()))
        return torch.stack(images) if images else torch.empty((0, *self.shape[1:]), dtype=torch.uint8)


def as_published(published: Published, decoder: Decoder) -> Cached:
    """A data set without a cache: nothing is written, and images are decoded each time they are asked for.

    Raises:
        DataError: the published files are missing, or images differ in size.
    """
    parts = [_as_it_is(part, decoder) for part in published.parts() if part is not None]
    labelled = published.parts()[0]
    names: Sequence[str] | None = labelled.names if isinstance(labelled, Encoded) and labelled.table is None else None
    return Cached(parts[0], parts[1] if len(parts) > 1 else None, published.num_classes, names)


def _as_it_is(part: Part, decoder: Decoder) -> Images:
    if isinstance(part, Images):
        return part
    wholes = None if part.wholes is None else torch.tensor(part.wholes)
    return Images(Unconverted(part, decoder), torch.tensor(part.labels), wholes=wholes)
