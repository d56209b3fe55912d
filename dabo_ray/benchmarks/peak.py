"""Peak memory of one step, in the process that is measured: `python -m dabo_ray.benchmarks.peak ORDER`."""

from __future__ import annotations

import gc
import json
import sys

import torch

from dabo_ray.benchmarks.subjects import (
    Size,
    bilevel_steps,
    bilevel_training,
    fill_window,
    with_truncation,
)
from dabo_ray.benchmarks.torch_steps import torch_step
from dabo_ray.config.schema import BilevelConfig
from dabo_ray.execution.memory import PeakMemory


def peak_mib(size: Size, bilevel: BilevelConfig | None, device: torch.device) -> float:
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
    memory = PeakMemory(device)
    memory.reset()
    before = memory.mib()
    if bilevel is None:
        step = torch_step(training)
    else:
        fill_window(training)
        step = bilevel_steps(training)
    step()
    after = memory.mib()
    if before is None or after is None:
        raise OSError("peak memory is read from Linux's /proc, or from CUDA; neither is here")
    return after - before


def _main(order: str) -> None:
    network, shape, batch, settings, device, threads = json.loads(order)
    torch.set_num_threads(threads)
    bilevel = None if settings is None else BilevelConfig(**settings)
    print(peak_mib(Size(network, tuple(shape), batch), bilevel, torch.device(device)))


if __name__ == "__main__":
    _main(sys.argv[1])
