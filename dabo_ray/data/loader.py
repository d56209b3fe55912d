"""Batches of images that lie on the device, the same whatever the number of workers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dabo_ray.data.sources import Images
from dabo_ray.seeds import derive


@dataclass(frozen=True)
class Share:
    """Which part of every batch a worker takes."""

    rank: int = 0
    world_size: int = 1

    def of(self, batch: Tensor) -> Tensor:
        """This worker's rows of something with one row per image of the batch."""
        return batch[self.rank :: self.world_size]


@dataclass(frozen=True)
class Batch:
    """A worker's share of one batch."""

    images: Tensor
    """(B / workers, C, H, W) uint8, on the device."""

    labels: Tensor
    """(B / workers,) int64, on the device."""

    size: int
    """B, the images of the whole batch over all workers."""


class Batches:
    """Shuffled batches of images held on a device as uint8.

    The order is a function of the seed and of the pass, so any batch can be had again without the ones before it.
    A last batch that would be smaller than the others is left out, unless it is the only one.

    Args:
        images: kept on `device` whole.
        batch_size: images of a batch over all workers.
        seed: of the order.
        share: the rows of each batch that this worker takes.
        device: where batches are gathered.
    """

    def __init__(self, images: Images, batch_size: int, seed: int, share: Share, device: torch.device) -> None:
        self.images = images.images.to(device)
        self.labels = images.labels.to(device)
        self.batch_size = min(batch_size, len(images))
        self.seed = seed
        self.share = share
        self._pass_in_hand: int | None = None
        self._order_in_hand = torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        """Batches of one pass."""
        return len(self.labels) // self.batch_size

    def __getitem__(self, number: int) -> Batch:
        """A batch of an endless sequence of passes."""
        pass_number, index = divmod(number, len(self))
        rows = self._order(pass_number)[index * self.batch_size : (index + 1) * self.batch_size]
        rows = self.share.of(rows).to(self.labels.device, non_blocking=True)
        return Batch(self.images[rows], self.labels[rows], self.batch_size)

    def _order(self, pass_number: int) -> Tensor:
        if self._pass_in_hand != pass_number:
            generator = torch.Generator().manual_seed(derive(self.seed, "order", pass_number))
            self._order_in_hand = torch.randperm(len(self.labels), generator=generator)
            self._pass_in_hand = pass_number
        return self._order_in_hand


def to_unit(images: Tensor) -> Tensor:
    """uint8 in 0..255 to float in [0, 1]."""
    return images.float().div_(255)
