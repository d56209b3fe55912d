"""The benchmark of the data at a tiny size, and its measure of memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dabo_ray.benchmarks import data
from dabo_ray.benchmarks.measure import BenchmarkOptions


def test_rows_and_budgets(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(data, "DEBIAN_FASHION_MNIST", Path("not-installed"))
    for name, value in (("NUM_IMAGES", 600), ("BATCH", 50), ("NUM_BATCHES", 4), ("PROCESSES", 2), ("WORKERS", (0,))):
        monkeypatch.setattr(data, name, value)
    result = data.run(BenchmarkOptions(torch.device("cpu"), repeats=2, threads=1))
    assert [row.unit for row in result.rows] == ["per_second", "per_second", "mib", "mib"]
    assert result.rows[2].value == pytest.approx(600 * 28 * 28 / 2**20)
    assert [budget.at_least for budget in result.budgets] == [True, False]


MEASURE = """
import mmap, sys, torch
from dabo_ray.benchmarks import data
data.PROCESSES = 4
file, shared = sys.argv[1], sys.argv[2] == "True"

def work():
    if not shared:
        # Not from the allocator, which may have pages left that the processes share.
        own = mmap.mmap(-1, 40 * 2**20)
        own.write(bytes(40 * 2**20))
        return own
    mapped = torch.from_file(file, shared=True, size=40 * 2**20, dtype=torch.uint8)
    mapped.sum()
    return mapped

print(data.memory_of_processes(lambda: None, work))
"""


@pytest.mark.parametrize("shared", [True, False])
def test_memory_that_is_shared_counts_once(shared: bool, tmp_path: Path):
    """Four processes and 40 MiB: of one file, or of each process. They share less with a fresh one than with this."""
    file = tmp_path / "file"
    file.write_bytes(bytes(40 * 2**20))
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, file, str(shared)], capture_output=True, text=True, check=True
    )
    assert float(measured.stdout) == pytest.approx(40 if shared else 160, abs=15)
