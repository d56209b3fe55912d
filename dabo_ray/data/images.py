"""Labelled images by row number: in memory, in a file that processes share, or encoded and decoded when read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from dabo_ray.augment.functional import affine_nearest, affine_warp
from dabo_ray.augment.masks import moved_masks

CHUNK = 1024
"""Images that are read, moved or counted at a time."""

SAMPLE_DECODED = 1024
"""Images that stand for all of a set that must be decoded."""


class DataError(ValueError):
    """A data set that is missing or damaged; the message says what was looked for, where, and how to get it."""


class Pixels(Protocol):
    """Images of one shape by row number; a tensor is one."""

    @property
    def shape(self) -> torch.Size:
        """(M, C, H, W)."""

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """The images of (B,) rows, (B, C, H, W) uint8."""


@dataclass(frozen=True)
class Images:
    """N labelled images, each a row of `pixels`. Parts of them share the pixels, nothing is copied.

    Raises:
        ValueError: the shapes do not fit each other.

    >>> images = Images(torch.zeros(100, 3, 32, 32, dtype=torch.uint8), torch.arange(100) % 10)
    >>> part = images.take(torch.tensor([1, 11, 21]))
    >>> len(part), part.shape, part.labels.tolist()
    (3, (3, 32, 32), [1, 1, 1])
    """

    pixels: Pixels
    """(M, C, H, W) uint8."""

    labels: Tensor
    """(N,) int64, from 0."""

    rows: Tensor | None = None
    """(N,) rows of `pixels`; None: all of them, in their order."""

    maps: Tensor | None = None
    """(N, 2, 3) maps under which the images are seen, see `affine_warp`; None: as they are."""

    wholes: Tensor | None = None
    """(N,) numbers of the larger images that these are patches of, which are split and judged as a whole."""

    groups: Tensor | None = None
    """(N,) numbers of what stays together in every split, such as patients; None: each image, or whole, by itself."""

    masks: Tensor | None = None
    """(M, H, W) uint8, the classes of pixels in the rows of `pixels`, see `augment.masks`; None: there are none. Images
    with masks have zeros as labels."""

    def __post_init__(self) -> None:
        if len(self.pixels.shape) != 4:
            raise ValueError(f"got pixels of shape {tuple(self.pixels.shape)}; give (M, C, H, W)")
        num = self.pixels.shape[0] if self.rows is None else len(self.rows)
        for name in ("labels", "maps", "wholes", "groups"):
            values = getattr(self, name)
            if values is not None and len(values) != num:
                raise ValueError(f"got {len(values)} {name} for {num} images; give one for each")
        num_rows, _, *sides = self.pixels.shape
        if self.masks is not None and self.masks.shape != (num_rows, *sides):
            raise ValueError(f"got masks of shape {tuple(self.masks.shape)}; give {(num_rows, *sides)}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: channels, height, width."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width

    @property
    def images(self) -> Tensor:
        """All images, (N, C, H, W) uint8; a copy, unless they are a whole tensor as it is."""
        if isinstance(self.pixels, Tensor) and self.rows is None and self.maps is None:
            return self.pixels
        return self.read(torch.arange(len(self)))

    def read(self, indices: Tensor) -> Tensor:
        """The images at the indices, (B, C, H, W) uint8: a copy."""
        images = self.pixels[indices if self.rows is None else self.rows[indices]]
        return images if self.maps is None else moved(images, self.maps[indices])

    def read_masks(self, indices: Tensor) -> Tensor:
        """The masks at the indices, (B, H, W) uint8: a copy. Under maps by the nearest pixel, outside ignored."""
        assert self.masks is not None
        masks = self.masks[indices if self.rows is None else self.rows[indices]]
        if self.maps is None:
            return masks
        maps = self.maps[indices]
        return moved_masks(masks, lambda levels: affine_nearest(levels, maps))

    def targets(self, indices: Tensor) -> Tensor:
        """What a classifier is to say of the images at the indices: (B,) labels, or (B, H, W) masks."""
        return self.labels[indices] if self.masks is None else self.read_masks(indices)

    def take(self, indices: Tensor) -> Images:
        """The images at the indices, in their order."""
        return Images(
            self.pixels,
            self.labels[indices],
            indices if self.rows is None else self.rows[indices],
            None if self.maps is None else self.maps[indices],
            None if self.wholes is None else self.wholes[indices],
            None if self.groups is None else self.groups[indices],
            self.masks,
        )

    def under(self, maps: Tensor) -> Images:
        """The same images seen under (N, 2, 3) maps."""
        return replace(self, maps=maps)

    def sample(self) -> Tensor:
        """Images that stand for all: all of them, or evenly spaced ones if they must be decoded."""
        return self.images if isinstance(self.pixels, Tensor) else self.read(self._sampled())

    def _sampled(self) -> Tensor:
        step = 1 if isinstance(self.pixels, Tensor) else max(1, len(self) // SAMPLE_DECODED)
        return torch.arange(0, len(self), step)

    def digest(self) -> str:
        """A short fingerprint of every pixel, label and group; of encoded images, of what was sampled."""
        digest = hashlib.blake2b(digest_size=12)
        for part in torch.split(self._sampled(), CHUNK):
            digest.update(self.read(part).numpy().tobytes())
            if self.masks is not None:
                digest.update(self.read_masks(part).numpy().tobytes())
        for values in (self.labels, self.groups):
            digest.update(b"" if values is None else values.numpy().tobytes())
        return digest.hexdigest()


def moved(images: Tensor, theta: Tensor) -> Tensor:
    """Copies of (N, C, H, W) uint8 images under maps of (N, 2, 3): bilinear, zero outside, rounded to 8 bits."""
    chunks = zip(torch.split(images, CHUNK), torch.split(theta, CHUNK), strict=True)
    return torch.cat([affine_warp(part.float(), maps).round().to(torch.uint8) for part, maps in chunks])
