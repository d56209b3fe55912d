"""Copies of small tensors from the CPU to a device, which do not make the CPU wait for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ALIGNMENT = 16
"""Bytes at whose multiples the tensors of one copy begin, so that each can be seen as its own type."""


def sent(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The tensors on the device, by one copy that is queued behind the work in hand.

    A copy from ordinary memory is done in pieces while the CPU stands by; from page-locked memory the device fetches it
    when it comes to it. Tensors that are there already, and all of them where the device is the CPU, are given back as
    they are.
    """
    moved = [place for place, tensor in enumerate(tensors) if tensor.device != device]
    if not moved or device.type != "cuda":
        return [tensor.to(device) for tensor in tensors]
    sizes = [tensors[place].numel() * tensors[place].element_size() for place in moved]
    starts = [0]
    for size in sizes:
        starts.append(-(-(starts[-1] + size) // ALIGNMENT) * ALIGNMENT)
    packed = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=True)
    for place, start, size in zip(moved, starts, sizes, strict=False):
        _part(packed, start, size, tensors[place]).copy_(tensors[place])
    packed = packed.to(device, non_blocking=True)
    found = list(tensors)
    for place, start, size in zip(moved, starts, sizes, strict=False):
        found[place] = _part(packed, start, size, tensors[place])
    return found


def sent_as(tensor: Tensor, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """One tensor on the device of another, in its type or the one given."""
    (found,) = sent([tensor.to(like.dtype if dtype is None else dtype)], like.device)
    return found


def _part(packed: Tensor, start: int, size: int, like: Tensor) -> Tensor:
    return packed[start : start + size].view(like.dtype).view(like.shape)
