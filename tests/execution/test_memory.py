"""Each trial of a process has a peak of its own."""

from __future__ import annotations

import sys

import pytest
import torch

from dabo_ray.execution.memory import PeakMemory


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is Linux's")
def test_the_peak_begins_anew_with_a_trial():
    memory = PeakMemory(torch.device("cpu"))
    memory.reset()
    before = memory.mib()
    # More than allocators keep for themselves, and than other tests may have given back to them.
    large = torch.ones(512, 2**20, dtype=torch.uint8)
    during = memory.mib()
    del large
    assert before is not None and during is not None
    assert during - before > 250
    memory.reset()
    after = memory.mib()
    assert after is not None and during - after > 250
