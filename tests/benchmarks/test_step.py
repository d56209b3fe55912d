"""The benchmark of steps on sizes that take no time, and that its cases do what they say."""

from __future__ import annotations

import pytest
import torch

from dabo_ray.benchmarks import step
from dabo_ray.benchmarks.measure import BenchmarkOptions
from dabo_ray.benchmarks.subjects import (
    AMORTISED,
    Size,
    bilevel_steps,
    bilevel_training,
    fill_window,
    published_step,
    with_truncation,
)
from dabo_ray.benchmarks.torch_steps import torch_step

CPU = torch.device("cpu")
TINY = Size("small_cnn", (1, 8, 8), 4)


def test_has_a_row_for_every_case() -> None:
    result = step.run(BenchmarkOptions(CPU, repeats=1, threads=1), [TINY])
    names = [row.name.removeprefix(f"{TINY}: ") for row in result.rows]
    assert names == ["plain SGD", "published", "exact K = 1", "amortised", *step.SWEEP]
    assert all(row.value > 0 and row.ratio > 0 for row in result.rows)
    assert result.budgets == [], "what is promised is promised for ResNet18"


def test_promises_are_made_for_resnet18(monkeypatch) -> None:
    monkeypatch.setattr(step, "SWEEP", {})
    result = step.run(BenchmarkOptions(CPU, repeats=1, threads=1), [Size("resnet18", (3, 8, 8), 4)])
    assert [budget.budget for budget in result.budgets] == [3.6, 1.3]


@pytest.mark.parametrize("make", [torch_step, published_step, bilevel_steps])
def test_steps_change_the_weights(make) -> None:
    training = bilevel_training(TINY, with_truncation(1), CPU)
    weights = list(training.objective.classifier.parameters())
    before = [weight.detach().clone() for weight in weights]
    make(training)()
    after = training.weights if make is bilevel_steps else weights
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_the_published_step_moves_the_augmenter() -> None:
    training = bilevel_training(TINY, with_truncation(1), CPU)
    assert training.learner is not None
    before = training.learner.theta
    published_step(training)()
    weight, *_ = training.learner.augmenter.parameters()
    assert weight.grad is not None and weight.grad.norm() > 0
    assert not torch.equal(weight, before[0])


def test_windows_are_full_and_the_amortised_step_has_one_update() -> None:
    training = bilevel_training(TINY, with_truncation(4), CPU)
    fill_window(training)
    assert training.learner is not None and len(training.learner.window) == 3
    bilevel_steps(training)()
    assert len(training.learner.window) == 3
    cheap = bilevel_training(TINY, AMORTISED, CPU)
    bilevel_steps(cheap)()
    assert cheap.learner is not None and cheap.learner.updates == 1
