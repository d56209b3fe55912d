"""Counts of what a step makes of its device: operators, kernels, and waits."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode


class CountedOperators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context that counts the operators which compute something; views and empty tensors are free.

    What another thread computes is not seen: on a GPU, backward passes.
    """

    FREE = frozenset(
        {
            *("aten.detach", "aten.view", "aten._unsafe_view", "aten.t", "aten.transpose", "aten.expand", "aten.slice"),
            *("aten.select", "aten.unsqueeze", "aten.squeeze", "aten.as_strided", "aten.alias", "aten.permute"),
            *("aten.empty", "aten.empty_like", "aten.empty_strided", "aten.new_empty", "aten.new_empty_strided"),
            *("aten.unbind", "aten.split", "aten.split_with_sizes", "aten._reshape_alias", "aten.is_pinned"),
        }
    )

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """An operator of torch, counted."""
        del types
        name = str(func.overloadpacket)
        if name not in self.FREE:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def count_operators(call: Callable[[], object]) -> Counter[str]:
    """Operators of a call, by name."""
    counted = CountedOperators()
    with counted:
        call()
    return counted.counts


def profile_kernels(call: Callable[[], object]) -> tuple[int, float]:
    """Kernels that a call launches on a GPU, and the seconds that they run."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        call()
        torch.cuda.synchronize()
    events = [event for event in profiled.events() if event.device_type.name == "CUDA"]
    kernels = [event for event in events if not event.name.startswith("Mem")]
    return len(kernels), sum(event.time_range.elapsed_us() for event in events) / 1e6


def count_waits(call: Callable[[], object]) -> int:
    """Times that a call makes the CPU wait for a GPU, as far as torch knows."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            call()
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return sum("synchroniz" in str(warning.message) for warning in found)
