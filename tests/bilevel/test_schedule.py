"""Step sizes against numbers by hand, and against torch's schedulers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR, SequentialLR

from dabo_ray.bilevel.schedule import Schedule, lr_factor

EPOCHS, LENGTH, WARMUP = 10, 7, 3


@pytest.mark.parametrize(
    ("schedule", "progress", "factor"),
    [
        ("constant", 0.99, 1.0),
        ("cosine", 0.0, 1.0),
        ("cosine", 0.25, 0.5 + math.sqrt(0.125)),
        ("cosine", 0.5, 0.5),
        ("step", 0.29, 1.0),
        ("step", 0.3, 0.2),
        ("step", 0.6, 0.04),
        ("step", 0.8, 0.008),
    ],
)
def test_step_sizes(schedule: str, progress: float, factor: float) -> None:
    assert lr_factor(schedule, progress) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize(("milestone", "epoch"), [(0.15, 6), (0.25, 10), (0.5, 20), (0.7, 28)])
@pytest.mark.parametrize("length", [1, 3, 257, 1250])
def test_a_milestone_is_the_first_update_after_its_epoch(milestone: float, epoch: int, length: int) -> None:
    schedule = Schedule(epochs=40, lr=0.4, shape="step", milestones=[milestone], decay=0.1)
    before, after = (schedule.lr_at(epoch * length + shift, length) for shift in (-1, 0))
    assert before == 0.4
    assert after == pytest.approx(0.04, rel=1e-12)


def theirs(shape: str, optimizer: torch.optim.Optimizer, updates: int) -> LRScheduler:
    if shape == "cosine":
        return CosineAnnealingLR(optimizer, updates)
    if shape == "step":
        return MultiStepLR(optimizer, [math.ceil(part * updates) for part in (0.3, 0.6, 0.8)], 0.2)
    if shape == "step by 0.1":
        return MultiStepLR(optimizer, [math.ceil(part * updates) for part in (0.125, 0.5)], 0.1)
    return ConstantLR(optimizer, 1.0)


@pytest.mark.parametrize("shape", ["constant", "cosine", "step", "step by 0.1"])
@pytest.mark.parametrize("warmup", [0, WARMUP])
def test_is_what_torch_schedulers_do(shape: str, warmup: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.4)
    first = warmup * LENGTH
    main = theirs(shape, optimizer, EPOCHS * LENGTH - first)
    scheduler: LRScheduler = main
    if warmup:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.4)
        rise = LinearLR(optimizer, 1 / first, total_iters=first - 1)
        scheduler = SequentialLR(optimizer, [rise, theirs(shape, optimizer, EPOCHS * LENGTH - first)], [first])
    ours = Schedule(epochs=EPOCHS, lr=0.4, shape=shape, warmup_epochs=warmup)
    if shape == "step by 0.1":
        ours = replace(ours, shape="step", milestones=[0.125, 0.5], decay=0.1)
    for number in range(EPOCHS * LENGTH):
        assert ours.lr_at(number, LENGTH) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
        optimizer.step()
        scheduler.step()
