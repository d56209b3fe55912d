"""Examples in docstrings of the modules that a training loop of a user's own imports."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
import torch

PACKAGE = Path(__file__).resolve().parents[1] / "dabo_ray"

MODULES = [
    ".".join(("dabo_ray", *file.relative_to(PACKAGE).with_suffix("").parts))
    for part in ("augment", "models", "data", "bilevel")
    for file in sorted((PACKAGE / part).rglob("*.py"))
]

LEAST = 80
"""Lines of examples at least, so that a search that finds none is seen."""


def examples(module: str) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder().find(importlib.import_module(module)) if test.examples]


@pytest.mark.parametrize("module", MODULES)
def test_examples_give_what_they_show(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_rng_state()
    runner = doctest.DocTestRunner()
    for test in examples(module):
        runner.run(test)
    torch.set_rng_state(before)
    assert not runner.failures, capsys.readouterr().out


def test_there_are_examples() -> None:
    assert sum(len(test.examples) for module in MODULES for test in examples(module)) >= LEAST
