"""Hypergradients of both engines under the options of ordinary training, against unrolled training in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import nn

from dabo_ray.bilevel.hypergradient import (
    Engine,
    InnerProblem,
    InnerStep,
    adjoint_hypergradient,
    inner_gradient,
)
from dabo_ray.bilevel.sgd import Differentiate, Sgd
from dabo_ray.bilevel.unrolled import unrolled_hypergradient
from dabo_ray.models.small_cnn import SmallCnn
from dabo_ray.workers import Workers

ENGINES: dict[str, Engine] = {"adjoint": adjoint_hypergradient, "unrolled": unrolled_hypergradient}
PLAIN = Sgd.of()
MOMENTUM = Sgd.of(momentum=0.9, weight_decay=1e-2)
NESTEROV = Sgd.of(momentum=0.9, weight_decay=1e-2, nesterov=True)


def with_dropout() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(6, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(32, 10),
    )  # fmt: skip


def batch_norm() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(54, 10))


def group_norm() -> nn.Module:
    return SmallCnn((1, 8, 8), 10, width=8)


CASES = [
    # network, K, M, rule, clip_norm, label_smoothing: each value of one with each of its neighbours
    (with_dropout, 1, 1, PLAIN, None, 0.0),
    (with_dropout, 3, 4, NESTEROV, 0.1, 0.2),
    (with_dropout, 5, 1, MOMENTUM, 1e9, 0.0),
    (batch_norm, 1, 1, NESTEROV, 0.1, 0.0),
    (batch_norm, 2, 1, MOMENTUM, None, 0.2),
    (batch_norm, 5, 4, PLAIN, 0.1, 0.1),
    (group_norm, 1, 4, MOMENTUM, 0.1, 0.2),
    (group_norm, 2, 4, PLAIN, 1e9, 0.0),
    (group_norm, 3, 1, NESTEROV, None, 0.0),
    (group_norm, 5, 1, MOMENTUM, 0.1, 0.0),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("network", "num_steps", "inner_steps", "rule", "clip_norm", "label_smoothing"), CASES)
def test_equals_unrolled_training(
    make_problem, relative_error, engine, network, num_steps, inner_steps, rule, clip_norm, label_smoothing
) -> None:
    sgd = replace(rule, clip_norm=clip_norm)
    problem = make_problem(
        network(), num_steps=num_steps, inner_steps=inner_steps, sgd=sgd, label_smoothing=label_smoothing
    )
    expected = problem.unrolled_hypergradient()
    assert torch.cat([part.flatten() for part in expected]).norm() > 1e-4
    if clip_norm is not None:
        assert set(problem.clipped) == {clip_norm < 1}
    steps, weights = problem.window()
    outer_grad = problem.outer_grad(weights)
    at_hand = inner_gradient(problem.inner, steps[-1], in_weights=num_steps > 1)[1]
    for latest in (None, at_hand):
        ours = ENGINES[engine](problem.inner, steps, outer_grad, Workers(), latest)
        assert relative_error(ours, expected) < 1e-9


@pytest.mark.parametrize("clip_norm", [0.1, 1e9])
def test_clips_as_torch_does(clip_norm: float) -> None:
    generator = torch.Generator().manual_seed(0)
    grads = [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in ((3, 4), (5,))]
    theirs = [torch.zeros_like(grad, requires_grad=True) for grad in grads]
    for weight, grad in zip(theirs, grads, strict=True):
        weight.grad = grad.clone()
    torch.nn.utils.clip_grad_norm_(theirs, clip_norm)
    for ours, weight in zip(Sgd.of(clip_norm=clip_norm).scaled(grads), theirs, strict=True):
        torch.testing.assert_close(ours, weight.grad, rtol=1e-12, atol=0)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("clip_norm", [None, 0.5, 1e9])
@pytest.mark.parametrize("num_steps", [1, 3])
def test_of_the_direction_it_equals_unrolled_training(
    make_problem, relative_error, engine, clip_norm, num_steps
) -> None:
    sgd = Sgd.of(momentum=0.9, weight_decay=1e-2, nesterov=True, clip_norm=clip_norm, differentiate="direction")
    problem = make_problem(batch_norm(), num_steps=num_steps, inner_steps=2, sgd=sgd)
    steps, weights = problem.window()
    ours = ENGINES[engine](problem.inner, steps, problem.outer_grad(weights), Workers())
    assert relative_error(ours, problem.unrolled_hypergradient()) < 1e-9
    # It is another derivative than that of the whole update, whose length clipping holds too where it takes effect.
    whole = [replace(step, sgd=replace(step.sgd, differentiate="update")) for step in steps]
    other = ENGINES[engine](problem.inner, whole, problem.outer_grad(weights), Workers())
    assert (relative_error(other, ours) > 1e-3) == (clip_norm != 0.5)


def test_with_the_length_held_a_larger_gradient_is_no_gain() -> None:
    """The loss of weights w on images of mean a is a sum(w): theta, which makes them brighter, only makes g longer."""
    problem = InnerProblem(
        augment=lambda theta, images, labels, params: (images * theta[0], labels),
        loss=lambda weights, augmented, labels, size, masks: weights[0].sum() * augmented.mean(),
    )
    weights, theta = (torch.ones(size, dtype=torch.float64, requires_grad=True) for size in ((4,), ()))
    images = torch.full((2, 1, 3, 3), 0.5, dtype=torch.float64)
    grads = [torch.full_like(weights, 0.5)]
    steps = [
        InnerStep([weights], [theta], images, torch.zeros(2), (), 2, Sgd.of(lr=0.1, differentiate=what), grads=grads)
        for what in get_args(Differentiate)
    ]
    outer_grad = [torch.arange(4, dtype=torch.float64)]
    (whole,), (direction,) = (adjoint_hypergradient(problem, [step], outer_grad, Workers()) for step in steps)
    # d w' / d theta = -lr a, so d (v w') / d theta = -0.1 * 0.5 * (0 + 1 + 2 + 3).
    assert float(whole) == pytest.approx(-0.3, rel=1e-12)
    assert abs(float(direction)) < 1e-12


def test_updates_are_the_same_with_the_length_held() -> None:
    generator = torch.Generator().manual_seed(0)
    first, velocity, grads = (torch.randn(3, 4, generator=generator) for _ in range(3))
    for clip_norm in (None, 0.1):
        updated = []
        for what in get_args(Differentiate):
            weights = [first.clone()]
            sgd = Sgd.of(lr=0.1, momentum=0.9, clip_norm=clip_norm, differentiate=what)
            sgd.step(weights, [velocity.clone()], [grads])
            updated += weights
        assert not torch.equal(updated[0], first)
        torch.testing.assert_close(*updated, rtol=1e-6, atol=1e-7)
