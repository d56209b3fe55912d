"""Batches of labelled images on the device, the same whatever the number of workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dabo_ray.data.images import Images
from dabo_ray.data.stream import Ahead, Shards, windowed
from dabo_ray.seeds import derive
from dabo_ray.transfer import sent
from dabo_ray.workers import Workers


@dataclass(frozen=True)
class Batch:
    """A worker's shard of one batch."""

    images: Tensor
    """(B / workers, C, H, W) uint8, on the device."""

    labels: Tensor
    """(B / workers,) int64, or masks, (B / workers, H, W) uint8; on the device."""

    size: int
    """B, the images of the whole batch over all workers."""


class Batches:
    """Shuffled batches of images.

    The order is a function of the seed and of the pass, so any batch can be had again without the ones before it.
    A last batch that would be smaller than the others is left out, unless it is the only one. Images in memory are
    gathered on the device; encoded ones are decoded by threads, the next batches ahead of time.

    Args:
        images: in memory or encoded.
        batch_size: images of a batch over all workers.
        seed: of the order.
        workers: that share the batches.
        device: where batches are wanted.
    """

    def __init__(self, images: Images, batch_size: int, seed: int, workers: Workers, device: torch.device) -> None:
        self.images = images if isinstance(images.pixels, Shards) else _on_device(images, device)
        self.labels = images.labels.to(device)
        self.batch_size = min(batch_size, len(images))
        self.seed = seed
        self.workers = workers
        self._row_groups = _row_groups(images)
        self._ahead = None if self._row_groups is None else Ahead(self._decoded)
        self._pass_in_hand: int | None = None
        self._order_in_hand = torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        """Batches of one pass."""
        return len(self.labels) // self.batch_size

    def __getitem__(self, number: int) -> Batch:
        """A batch of an endless sequence of passes."""
        device = self.labels.device
        if self._ahead is None:
            (rows,) = sent([self._rows(number)], device)
            labels = self.labels[rows] if self.images.masks is None else self.images.read_masks(rows)
            return Batch(self.images.read(rows), labels, self.batch_size)
        rows, images = self._ahead[number]
        (rows,) = sent([rows], device)
        return Batch(images.to(device, non_blocking=True), self.labels[rows], self.batch_size)

    def _decoded(self, number: int) -> tuple[Tensor, Tensor]:
        rows = self._rows(number)
        images = self.images.read(rows)
        return rows, images.pin_memory() if self.labels.is_cuda else images

    def _rows(self, number: int) -> Tensor:
        pass_number, index = divmod(number, len(self))
        rows = self._order(pass_number)[index * self.batch_size : (index + 1) * self.batch_size]
        return self.workers.shard(rows)

    def _order(self, pass_number: int) -> Tensor:
        if self._pass_in_hand != pass_number:
            generator = torch.Generator().manual_seed(derive(self.seed, "order", pass_number))
            if self._row_groups is None:
                self._order_in_hand = torch.randperm(len(self.labels), generator=generator)
            else:
                self._order_in_hand = windowed(self._row_groups, generator)
            self._pass_in_hand = pass_number
        return self._order_in_hand


def in_order(
    images: Images, batch_size: int, workers: Workers, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """A worker's shard of all images once, as they stand: batches of places, and their images on the device."""
    parts = torch.split(workers.shard(torch.arange(len(images))), batch_size)
    ahead = Ahead(lambda number: images.read(parts[number])) if isinstance(images.pixels, Shards) else None
    for number, places in enumerate(parts):
        yield places, (images.read(places) if ahead is None else ahead[number]).to(device)


def _row_groups(images: Images) -> Tensor | None:
    if not isinstance(images.pixels, Shards):
        return None
    rows = torch.arange(len(images)) if images.rows is None else images.rows
    return images.pixels.row_groups(rows)


def _on_device(images: Images, device: torch.device) -> Images:
    """Images in memory of the device, and not under maps, which would be applied again in every pass.

    On the CPU, images as they are stay where they lie: processes share the pages of a mapped file.
    """
    if device.type == "cpu" and images.maps is None:
        return images
    masks = None if images.masks is None else images.read_masks(torch.arange(len(images))).to(device)
    return Images(images.images.to(device), images.labels, masks=masks)
