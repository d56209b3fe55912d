"""The benchmark on a size that takes no time."""

from __future__ import annotations

import torch

from dabo_ray.benchmarks import memory
from dabo_ray.benchmarks.measure import BenchmarkOptions
from dabo_ray.benchmarks.subjects import Size

CPU = torch.device("cpu")


def test_a_process_for_every_case(monkeypatch) -> None:
    chosen = {name: memory.CASES[name] for name in ("plain SGD", "unrolled K = 2")}
    monkeypatch.setattr(memory, "CASES", chosen)
    size = Size("small_cnn", (1, 28, 28), 64)
    result = memory.run(BenchmarkOptions(CPU, repeats=1, threads=1), [size])
    values = {row.name.removeprefix(f"{size}: "): row.value for row in result.rows}
    assert list(values) == ["plain SGD", "unrolled K = 2"]
    # The graphs of two updates that can be differentiated hold more than one of an update that cannot.
    assert 5 < values["plain SGD"] < values["unrolled K = 2"] / 2
