"""Operators of a step: a count is exact, and what a GPU is asked to do one by one follows from it."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from dabo_ray.benchmarks.launches import count_operators
from dabo_ray.benchmarks.subjects import AMORTISED, Size, bilevel_training, with_truncation
from dabo_ray.bilevel.double_backward import batch_norm

CPU = torch.device("cpu")
SMALL = Size("resnet18", (3, 32, 32), 4)


def test_views_are_free_and_all_else_counts() -> None:
    numbers = torch.arange(6.0)
    counts = count_operators(lambda: (numbers.view(2, 3).T[0] + 1).sum())
    assert counts == {"aten.add": 1, "aten.sum": 1}


def unfused(*arguments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As many operators as the fused kernels: two and a sum."""
    vx, _, _, gy, x, _, mean, *_ = arguments
    return vx + gy, x + 1, mean + 1


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_norm, "_kernel_for", lambda _: unfused)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_a_step_has_few_operators() -> None:
    """Before, a step had 393 when no update was due and 2,975 when one was, and the exact one 2,283. torch: 482."""
    plain = bilevel_training(SMALL, AMORTISED, CPU, method="none")
    cheap, exact = (bilevel_training(SMALL, config, CPU) for config in (AMORTISED, with_truncation(1)))
    assert cheap.learner is not None
    due = cheap.learner.inner_steps - 1
    counts = {}
    for name, call in {
        "plain": partial(plain.step, 0),
        "not due": partial(cheap.step, 0),
        "due": partial(cheap.step, due),
        "exact": partial(exact.step, 0),
    }.items():
        call()
        counts[name] = sum(count_operators(call).values())
    most = {"plain": 200, "not due": 260, "due": 1260, "exact": 970}
    assert {name for name, count in counts.items() if count > most[name]} == set(), counts
