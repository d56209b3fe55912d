"""The programs in examples/ run and find what they are to find."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_loop_of_ones_own_learns(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "own_loop.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    plain, learned = (float(number) for number in re.findall(r"^\w+: ([\d.]+) % of", done.stdout, re.MULTILINE))
    # The images to train on are upright and those to recognise are turned: what was learned is worth twenty points.
    assert learned > plain + 10
    assert "rotation" in done.stdout
    assert (tmp_path / "augmenter.safetensors").exists()
