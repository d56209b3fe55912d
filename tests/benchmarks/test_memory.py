"""Peak memory: that it is seen, and the benchmark on a size that takes no time."""

from __future__ import annotations

import subprocess
import sys

import torch

from dabo_ray.benchmarks import memory
from dabo_ray.benchmarks.measure import Options
from dabo_ray.benchmarks.subjects import Size

CPU = torch.device("cpu")


PROBE = """
import torch
from dabo_ray.benchmarks import peak
cpu = torch.device("cpu")
before = peak.restart_peak(cpu)
held = torch.ones(16 * peak.MIB)
del held
print((peak.peak(cpu) - before) / peak.MIB, (peak.restart_peak(cpu) - before) / peak.MIB)
"""
"""Takes 64 MiB and gives them back; what was used before, and could be used again, would hide them."""


def test_sees_what_was_used_and_given_back() -> None:
    found = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    used, left = map(float, found.stdout.split())
    assert 60 < used < 80
    assert abs(left) < 20


def test_a_process_for_every_case(monkeypatch) -> None:
    chosen = {name: memory.CASES[name] for name in ("plain SGD", "unrolled K = 2")}
    monkeypatch.setattr(memory, "CASES", chosen)
    size = Size("small_cnn", (1, 28, 28), 64)
    result = memory.run(Options(CPU, repeats=1, threads=1), [size])
    values = {row.name.removeprefix(f"{size}: "): row.value for row in result.rows}
    assert list(values) == ["plain SGD", "unrolled K = 2"]
    # The graphs of two updates that can be differentiated hold more than one of an update that cannot.
    assert 5 < values["plain SGD"] < values["unrolled K = 2"] / 2
