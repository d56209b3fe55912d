"""Optimisers of an augmenter, and how much evidence its updates take."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dabo_ray.assembly.augmentation import make_augmenter
from dabo_ray.assembly.learner import OPTIMIZERS
from dabo_ray.config.schema import AugmenterConfig, BilevelConfig


def optimizer_of(num_updates: int = 1000, **settings: Any) -> torch.optim.Optimizer:
    config = AugmenterConfig(**settings)
    return OPTIMIZERS[config.optimizer](make_augmenter(config, 10), config, num_updates)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_take_their_settings(name: str):
    decay = 0.0 if name == "shrunk_adam" else 0.25
    optimizer = optimizer_of(optimizer=name, lr=0.5, weight_decay=decay)
    assert optimizer.param_groups[0]["lr"] == 0.5
    for group in optimizer.param_groups:
        assert group.get("weight_decay", 0.0) == decay
        assert group.get("momentum", 0.9) == 0.9


@pytest.mark.parametrize(("num_updates", "lr"), [(10, 0.1), (800, 0.1), (8000, 0.01), (80_000, 0.001)])
def test_a_spread_can_go_as_far_in_a_long_training_as_in_a_short_one(num_updates: int, lr: float):
    optimizer = optimizer_of(num_updates)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(lr)
    memories = [1 / (1 - beta) for beta in optimizer.param_groups[0]["betas"]]
    assert memories == pytest.approx([max(20, num_updates / 40), max(20, num_updates)])


@pytest.mark.parametrize(
    ("num_steps", "inner_steps", "fraction"),
    [(1, 1, 1.0), (840, 1, 1.0), (3000, 3, 1.0), (8000, 8, 1.0), (16_000, 8, 0.5), (62_600, 8, 0.25)],
)
def test_a_training_takes_as_much_evidence_as_it_needs(num_steps: int, inner_steps: int, fraction: float):
    bilevel = BilevelConfig().for_training(num_steps)
    assert (bilevel.inner_steps, bilevel.mixed_batch_fraction) == (inner_steps, fraction)
    given = BilevelConfig(inner_steps=3, mixed_batch_fraction=0.125)
    assert given.for_training(num_steps) == given
