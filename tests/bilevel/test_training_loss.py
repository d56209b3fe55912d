"""Learning from the training loss: against autograd on the same loss, and within its budget."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dabo_ray.augment.affine import AffineAugmenter
from dabo_ray.augment.functional import to_unit
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.schedule import Schedule
from dabo_ray.bilevel.sgd import Sgd
from dabo_ray.bilevel.task import classification
from dabo_ray.bilevel.training import Training
from dabo_ray.bilevel.training_loss import TrainingLossLearner
from dabo_ray.data.loader import Batches
from dabo_ray.data.sources import load
from dabo_ray.models.normalize import Normalize
from dabo_ray.models.small_cnn import SmallCnn
from dabo_ray.workers import Workers

CPU = torch.device("cpu")


def training(budget: float | None, *, epochs: int = 1, inner_steps: int = 1, lr: float = 1.0) -> Training:
    torch.manual_seed(0)
    digits = load("digits", Path()).labelled
    augmenter = AffineAugmenter(noise=6, hidden=8)
    with torch.no_grad():
        augmenter.log_spread.fill_(math.log(0.05))
    learner = TrainingLossLearner(
        augmenter,
        budget=budget,
        inner_steps=inner_steps,
        optimizer=torch.optim.SGD(augmenter.parameters(), lr),
    )
    return Training(
        Objective(nn.Sequential(Normalize.of(digits.images), SmallCnn((1, 8, 8), 10, width=8))),
        classification(10),
        augmenter,
        learner=learner,
        fit=Batches(digits.take(torch.arange(600)), 64, 0, Workers(), CPU),
        score=digits.take(torch.arange(600, 800)),
        part="select",
        schedule=Schedule(epochs=epochs, lr=0.05),
        sgd=Sgd.of(momentum=0.9),
        seed=0,
    )


def theta(run: Training) -> list[Tensor]:
    assert run.learner is not None
    return [part.detach().clone() for part in run.learner.augmenter.parameters()]


def rms_change(run: Training, number: int = 0) -> float:
    assert run.learner is not None
    step = run.inputs.step(number, run.weights, run.learner.theta)
    with torch.no_grad():
        return float((run.learner.augmenter(step.images, *step.params) - step.images).square().mean().sqrt())


def of_loss(run: Training) -> list[Tensor]:
    """Gradient of the first batch's loss with respect to the augmenter, by a loss that is written out."""
    assert run.learner is not None
    augmenter, net = run.learner.augmenter, run.objective.classifier.train()
    batch = run.fit[0]
    params = run.inputs.step(0, [], []).params
    loss = cross_entropy(net(augmenter(to_unit(batch.images), *params)), batch.labels)
    return list(torch.autograd.grad(loss, list(augmenter.parameters())))


@pytest.mark.parametrize(("budget", "sign"), [(None, -1), (10.0, 1)])
def test_the_augmenter_moves_along_the_training_loss(budget: float | None, sign: int, relative_error) -> None:
    run = training(budget)
    before, expected = theta(run), of_loss(run)
    run.objective.classifier.train()
    found = run.step(0)
    moved = [new - old for new, old in zip(theta(run), before, strict=True)]
    assert relative_error(moved, [sign * grad for grad in expected]) < 1e-4
    norm = torch.cat([grad.flatten() for grad in expected]).norm()
    assert float(found["augmenter_gradient_norm"]) == pytest.approx(float(norm), rel=1e-4)


def test_beyond_the_budget_the_change_is_made_smaller() -> None:
    run = training(1e-3, lr=0.1)
    before = rms_change(run)
    run.objective.classifier.train()
    run.step(0)
    assert rms_change(run) < before


def test_the_classifier_trains_as_without_a_learner(relative_error) -> None:
    """The first epoch of a step size of zero is training on an augmenter that does not change."""
    run, other = training(None, lr=0.0), training(None, inner_steps=1000, lr=0.0)
    for each in (run, other):
        list(each.epochs())
    assert relative_error(run.weights, other.weights) < 1e-6


@pytest.mark.parametrize(("budget", "low", "high"), [(None, 0.0, 0.1), (0.17, 0.155, 0.185)])
def test_descent_shrinks_the_change_and_ascent_grows_it_to_the_budget(budget, low: float, high: float) -> None:
    run = training(budget, epochs=10, lr=0.5)
    assert rms_change(run) == pytest.approx(0.142, abs=0.001)
    *_, record = run.epochs()
    assert low < rms_change(run) < high
    assert record["rotation_spread_deg"] > 0 and record["augmenter_gradient_norm"] > 0
    assert "outer_loss" not in record
