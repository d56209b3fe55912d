"""Dropout whose masks can be had again, and do not depend on the number of workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from dabo_ray.seeds import derive
from dabo_ray.transfer import sent_as
from dabo_ray.workers import Workers


@dataclass(frozen=True)
class Masks:
    """Which numbers dropout zeroes in one pass; the same whenever the pass is repeated."""

    seed: int
    """Of this update's masks."""

    workers: Workers
    """That share the batch."""

    size: int
    """Images of the whole batch."""

    repeats: int = 1
    """Times that the images come, one sequence after the other; each comes with the same mask."""


class dropout_by(TorchFunctionMode):
    """A context in which torch's dropout takes its masks from here and leaves the global generator alone.

    Every layer's mask is drawn on the CPU for the whole batch, from a generator of its own, so a mask for fewer images
    is the first rows of one for more.

    Args:
        masks: of this pass; None: nothing is dropped.
    """

    def __init__(self, masks: Masks | None) -> None:
        super().__init__()
        self.masks = masks
        self.calls = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """A function of torch, or dropout by these masks."""
        del types
        if func is functional.dropout:
            return self._drop(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _drop(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        del inplace
        if self.masks is None or not training or p == 0:
            return input
        generator = torch.Generator().manual_seed(derive(self.masks.seed, self.calls))
        self.calls += 1
        mask = torch.rand(self.masks.size, *input.shape[1:], generator=generator) >= p
        mine = self.masks.workers.shard(mask).repeat(self.masks.repeats, *[1] * (input.dim() - 1))
        return input * sent_as(mine, input) / (1 - p)
