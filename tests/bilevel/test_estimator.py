"""Estimators of the hypergradient are unbiased: their mean over all parts of a batch is the exact one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from dabo_ray.bilevel.dropout import Masks
from dabo_ray.bilevel.estimator import Estimator
from dabo_ray.bilevel.hypergradient import Engine, InnerStep, adjoint_hypergradient
from dabo_ray.bilevel.sgd import Sgd
from dabo_ray.bilevel.unrolled import unrolled_hypergradient
from dabo_ray.models.small_cnn import SmallCnn
from dabo_ray.workers import Workers
from tests.fake_workers import OneOf

SGD = Sgd.of(momentum=0.9, weight_decay=1e-2, clip_norm=0.5)


def rotated(step: InnerStep, by: int) -> InnerStep:
    """The same update with its images in another order."""
    images, labels, *params = (part.roll(-by, 0) for part in (step.images, step.labels, *step.params))
    return replace(step, images=images, labels=labels, params=tuple(params))


def mean(found: list[list[torch.Tensor]]) -> list[torch.Tensor]:
    return [torch.stack(parts).mean(0) for parts in zip(*found, strict=True)]


@pytest.mark.parametrize("fraction", [0.5, 1 / 3])
def test_the_mean_over_parts_is_exact(make_problem, relative_error, fraction: float) -> None:
    problem = make_problem(SmallCnn((1, 8, 8), 10, width=8), sgd=SGD)
    steps, weights = problem.window()
    outer_grad = problem.outer_grad(weights)
    estimator = Estimator(workers=Workers(), fraction=fraction)
    size = round(6 * fraction)
    found = [
        adjoint_hypergradient(problem.inner, [rotated(steps[0], by)], outer_grad, Workers(), estimate=estimator)
        for by in range(0, 6, size)
    ]
    assert relative_error(mean(found), problem.unrolled_hypergradient()) < 1e-9
    assert relative_error(found[0], problem.unrolled_hypergradient()) > 0.01


@pytest.mark.parametrize("engine", [adjoint_hypergradient, unrolled_hypergradient])
def test_the_mean_over_parts_of_both_updates_is_exact(make_problem, relative_error, engine: Engine) -> None:
    """Parts of different updates are independent, so every pair of parts is as likely."""
    sgd = replace(SGD, clip_norm=None)
    problem = make_problem(SmallCnn((1, 8, 8), 10, width=8), sgd=sgd, num_steps=2)
    steps, weights = problem.window()
    outer_grad = problem.outer_grad(weights)
    estimator = Estimator(workers=Workers(), fraction=0.5)
    found = [
        engine(
            problem.inner,
            [rotated(steps[0], first), rotated(steps[1], second)],
            outer_grad,
            Workers(),
            estimate=estimator,
        )
        for first in (0, 3)
        for second in (0, 3)
    ]
    assert relative_error(mean(found), problem.unrolled_hypergradient()) < 1e-9


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_mirrored_noise_averages_an_update_and_its_opposite(make_problem, relative_error, fraction: float) -> None:
    problem = make_problem(SmallCnn((1, 8, 8), 10, width=8), sgd=Sgd.of())
    (step,), weights = problem.window()
    outer_grad = problem.outer_grad(weights)
    (noise,) = step.params

    def hypergradient(step: InnerStep, estimate: Estimator | None) -> list[torch.Tensor]:
        return adjoint_hypergradient(problem.inner, [step], outer_grad, Workers(), estimate=estimate)

    part = Estimator(workers=Workers(), fraction=fraction)
    expected = mean([hypergradient(replace(step, params=(sign * noise,)), part) for sign in (1, -1)])
    both = Estimator(workers=Workers(), fraction=fraction, antithetic=problem.augmenter.antithetic)
    assert relative_error(hypergradient(step, both), expected) < 1e-9


def step_of(workers: Workers, size: int = 13) -> InnerStep:
    rows = workers.shard(torch.arange(size))
    return InnerStep(
        [],
        [],
        rows.float().view(-1, 1, 1, 1),
        rows,
        (rows.float()[:, None],),
        size,
        Sgd.of(),
        masks=Masks(0, workers, size),
    )


@pytest.mark.parametrize("fraction", [1.0, 0.5, 0.3, 0.01])
def test_workers_share_the_part(fraction: float) -> None:
    alone = Estimator(workers=Workers(), fraction=max(fraction, 4 / 13))(step_of(Workers()))
    parts = [Estimator(workers=workers, fraction=fraction)(step_of(workers)) for workers in (OneOf(0, 2), OneOf(1, 2))]
    assert all(part.size == alone.size and len(part.labels) >= 2 for part in parts)
    assert sorted(torch.cat([part.labels for part in parts]).tolist()) == alone.labels.tolist()
    assert alone.labels.tolist() == list(range(alone.size))


def test_dropout_drops_for_a_part_what_it_drops_for_the_whole(make_problem, relative_error) -> None:
    network = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.4), nn.Linear(216, 10))
    problem = make_problem(network, sgd=Sgd.of())
    (step,), _ = problem.window()
    half = Estimator(workers=Workers(), fraction=0.5)(step)
    both = Estimator(workers=Workers(), fraction=0.5, antithetic=lambda params: params)(step)
    augmented = [problem.augment(part.theta, part.images, part.params) for part in (step, half, both)]
    # The loss of the last three images alone is what the whole has more than the first three.
    values = [
        part.size * problem.inner.loss(part.weights, images, part.labels, part.size, part.masks)
        for part, images in zip((step, half, both), augmented, strict=True)
    ]
    per_image = [problem.loss(step.weights, augmented[0], step.labels.where(torch.arange(6) < 3, -100), 1, step.masks)]
    torch.testing.assert_close(values[1], per_image[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(values[2], 2 * values[1], rtol=1e-12, atol=0)
