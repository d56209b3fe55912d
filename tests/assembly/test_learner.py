"""Optimisers of an augmenter, and how much evidence its updates take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from dabo_ray.assembly import make_study_pools, make_training
from dabo_ray.assembly.augmentation import make_augmenter
from dabo_ray.assembly.learner import OPTIMIZERS
from dabo_ray.bilevel.hypergradient import plain_gradient
from dabo_ray.bilevel.sgd import copied
from dabo_ray.bilevel.step import OuterLossLearner
from dabo_ray.config.schema import AugmenterConfig, BilevelConfig, StudyConfig
from dabo_ray.trials import Phase, Trial


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


@pytest.mark.parametrize(("num_updates", "lr"), [(10, 0.05), (1000, 0.05), (8000, 0.01), (80_000, 0.001)])
def test_a_spread_can_go_as_far_in_a_long_training_as_in_a_short_one(num_updates: int, lr: float):
    optimizer = optimizer_of(num_updates)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(lr)
    memories = [1 / (1 - beta) for beta in optimizer.param_groups[0]["betas"]]
    assert memories == pytest.approx([max(20, num_updates / 40), max(20, num_updates)])


@pytest.mark.parametrize(
    ("num_steps", "inner_steps", "fraction", "outer_fraction"),
    [
        (1, 1, 1.0, 1.0),
        (840, 1, 1.0, 1.0),
        (3000, 3, 1.0, 1.0),
        (8000, 8, 1.0, 1.0),
        (10_000, 8, 0.8, 0.8),
        (16_000, 8, 0.5, 0.5),
        (62_600, 8, 0.25, 0.5),
    ],
)
def test_a_training_takes_as_much_evidence_as_it_needs(
    num_steps: int, inner_steps: int, fraction: float, outer_fraction: float
):
    bilevel = BilevelConfig().for_training(num_steps)
    assert (bilevel.inner_steps, bilevel.mixed_batch_fraction) == (inner_steps, fraction)
    assert bilevel.outer_batch_fraction == outer_fraction
    given = BilevelConfig(inner_steps=3, mixed_batch_fraction=0.125, outer_batch_fraction=0.25)
    assert given.for_training(num_steps) == given


def trial(method: str) -> Trial:
    return Trial(name="t", phase=Phase.SEARCH, arm=method, method=method, seed=1, epochs=1)


@pytest.mark.parametrize(
    ("method", "given", "warmup"),
    [
        ("learned", [], 0.1),
        ("learned", ["bilevel.warmup_fraction=0.5"], 0.5),
        ("stn", [], 0.0),
        ("adversarial", [], 0.0),
    ],
)
def test_the_outer_problem_begins_after_a_part_of_the_training(
    method: str, given: list[str], warmup: float, make_study: Callable[..., StudyConfig]
):
    """What is learned from the training loss is learned from the first update on; all are annealed over their own."""
    study = make_study(*given)
    training = make_training(study, replace(trial(method), epochs=10), make_study_pools(study))
    learner, num_steps = training.learner, 10 * len(training.fit)
    assert learner is not None and learner.warmup == round(warmup * num_steps)
    assert learner._lr_factor is not None
    assert learner._lr_factor(num_steps - learner.warmup) == pytest.approx(0)
    assert learner._lr_factor((num_steps - learner.warmup) // 2) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("given", "is_antithetic"), [([], True), (["bilevel.antithetic=false"], False)])
def test_second_derivatives_are_taken_with_the_opposite_noise_too(
    given: list[str], is_antithetic: bool, make_study: Callable[..., StudyConfig]
):
    study = make_study("bilevel.mixed_batch_fraction=0.5", *given)
    training = make_training(study, trial("learned"), make_study_pools(study))
    assert isinstance(training.learner, OuterLossLearner) and training.learner.estimator is not None
    step = training.inputs.step(0, training.weights, training.learner.theta)
    half = step.size // 2
    stand_in = training.learner.estimator(step)
    (drawn,) = stand_in.params
    assert torch.equal(drawn[:half], step.params[0][:half])
    assert len(drawn) == (2 * half if is_antithetic else half)
    assert torch.equal(drawn[half:], -step.params[0][:half] if is_antithetic else drawn[:0])


@pytest.mark.parametrize(("method", "rises"), [("stn", False), ("adversarial", True)])
def test_an_adversarial_augmenter_raises_the_training_loss_and_a_spatial_transformer_lowers_it(
    method: str, rises: bool, make_study: Callable[..., StudyConfig]
):
    study = make_study(
        "augmenter={optimizer: sgd, lr: 0.1, budget: 10.0}", "bilevel.inner_steps=1", "baselines=[stn, adversarial]"
    )
    training = make_training(study, trial(method), make_study_pools(study))
    assert training.learner is not None
    weights = [weight.requires_grad_() for weight in copied(training.weights)]
    step = training.inputs.step(0, weights, training.learner.theta)
    before = plain_gradient(training.updates.problem, step)[0]
    training.step(0)
    after = plain_gradient(training.updates.problem, replace(step, theta=training.learner.theta))[0]
    assert bool(after > before) == rises
