"""Workers that train one network together, each on its rows of every batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Workers:
    """A worker's place among all; by itself, that of a worker that is alone and has whole batches."""

    rank: int = 0
    """Of this worker, from 0."""

    world_size: int = 1

    def shard(self, batch: Tensor) -> Tensor:
        """This worker's rows of something with one row per image of the whole batch."""
        return batch[self.rank :: self.world_size]

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Each tensor added up over the workers: every worker gets the same result, and all must take part."""
        return list(tensors)


class DistributedWorkers(Workers):
    """The workers of the default group of torch.distributed.

    Raises:
        RuntimeError: the group has not been set up, see `torch.distributed.init_process_group`.
    """

    def __init__(self) -> None:
        if not torch.distributed.is_initialized():
            raise RuntimeError("torch.distributed is not set up; call torch.distributed.init_process_group first")
        self.rank = torch.distributed.get_rank()
        self.world_size = torch.distributed.get_world_size()

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """One reduction for all tensors, which must be of one type."""
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        torch.distributed.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
