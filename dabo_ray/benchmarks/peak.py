"""Peak memory of one step, in the process that is measured: `python -m dabo_ray.benchmarks.peak ORDER`."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import torch

from dabo_ray.benchmarks.subjects import (
    Size,
    bilevel_steps,
    bilevel_training,
    fill_window,
    plain_step,
    with_truncation,
)
from dabo_ray.config import Bilevel

MIB = 2**20


def peak_mib(size: Size, bilevel: Bilevel | None, device: torch.device) -> float:
    """Of this process, above what it holds before a step; the window of past updates counts as part of the step.

    Args:
        size: network and batch.
        bilevel: the step's settings; None for a plain step of SGD.
        device: where it is computed.
    """
    warm_up = bilevel_training(Size(size.network, size.shape, 2), with_truncation(2), device)
    bilevel_steps(warm_up)()
    del warm_up
    training = bilevel_training(size, bilevel or with_truncation(1), device)
    gc.collect()
    before = restart_peak(device)
    if bilevel is None:
        step = plain_step(training)
    else:
        fill_window(training)
        step = bilevel_steps(training)
    step()
    return (peak(device) - before) / MIB


def restart_peak(device: torch.device) -> int:
    """Bytes in use, from which the next peak counts."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    # Linux: 5 sets the peak of the resident memory to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak(device: torch.device) -> int:
    """Most bytes in use since `restart_peak`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def _main(order: str) -> None:
    network, shape, batch, settings, device, threads = json.loads(order)
    torch.set_num_threads(threads)
    bilevel = None if settings is None else Bilevel(**settings)
    print(peak_mib(Size(network, tuple(shape), batch), bilevel, torch.device(device)))


if __name__ == "__main__":
    _main(sys.argv[1])
