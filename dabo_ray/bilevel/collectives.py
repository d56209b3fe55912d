"""Sums over the workers of a trial; nothing to do for one worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Collective(Protocol):
    """How workers that share a batch add up what each computed on its part."""

    world_size: int

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Each tensor added up over the workers; every worker gets the same result and must take part."""


class OneWorker:
    """A worker that has whole batches."""

    world_size = 1

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensors themselves."""
        return list(tensors)


class ProcessGroup:
    """The default group of torch.distributed, which must have been set up."""

    def __init__(self) -> None:
        self.world_size = torch.distributed.get_world_size()

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """One reduction for all tensors, which must be of one type."""
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        torch.distributed.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
