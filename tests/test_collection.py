"""Every test file is collected: pytest passes over folders with some names, such as `build`, without a word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent

LOOK = """
import pytest

class Looker:
    def pytest_collect_file(self, file_path):
        print(file_path)

# No file is a test: they are only looked at.
pytest.main(["--collect-only", "-s", "-o", "python_files=none.py"], plugins=[Looker()])
"""


def test_no_file_is_passed_over():
    looked = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=TESTS.parent, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    files = {str(file) for file in TESTS.rglob("test_*.py")}
    assert files
    assert not files - set(looked)
