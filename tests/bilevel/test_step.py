"""The augmenter's updates: when, by what gradient, and whether they help."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from dabo_ray.augment.affine import AffineMatrixAugmenter
from dabo_ray.augment.fixed import Identity
from dabo_ray.bilevel.finite import FiniteGuard
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.schedule import Schedule
from dabo_ray.bilevel.sgd import Sgd
from dabo_ray.bilevel.step import OuterLossLearner
from dabo_ray.bilevel.task import classification
from dabo_ray.bilevel.training import Record, Training
from dabo_ray.data.images import Images
from dabo_ray.data.loader import Batches
from dabo_ray.data.shift import Shift
from dabo_ray.data.sources import load
from dabo_ray.data.splits import make_pools
from dabo_ray.models.normalize import Normalize
from dabo_ray.models.small_cnn import SmallCnn
from dabo_ray.seeds import derive
from dabo_ray.workers import Workers

CPU = torch.device("cpu")


def outer(
    augmenter: AffineMatrixAugmenter, images: Images, *, inner_steps=1, truncation=1, lr=1.0, warmup=0
) -> OuterLossLearner:
    return OuterLossLearner(
        augmenter,
        Batches(images, 16, 0, Workers(), CPU),
        inner_steps=inner_steps,
        truncation=truncation,
        optimizer=torch.optim.SGD(augmenter.parameters(), lr),
        warmup=warmup,
    )


@pytest.mark.parametrize(
    ("inner_steps", "warmup", "due"),
    [
        (1, 0, [0, 1, 2, 3, 4, 5, 6, 7]),
        (3, 0, [2, 5]),
        (9, 0, []),
        (1, 5, [5, 6, 7]),
        (3, 2, [2, 5]),
        (3, 3, [5]),
        (1, 8, []),
    ],
)
def test_due_after_every_m_updates_from_the_warm_up_on(inner_steps: int, warmup: int, due: list[int]) -> None:
    images = load("digits", Path()).labelled.take(torch.arange(16))
    learner = outer(AffineMatrixAugmenter(noise=6, hidden=8), images, inner_steps=inner_steps, warmup=warmup)
    assert [number for number in range(8) if learner.is_due_after(number)] == due


@pytest.mark.parametrize(
    ("inner_steps", "truncation", "warmup", "kept"),
    [
        (1, 1, 0, []),
        (1, 3, 0, [0, 1, 2, 3, 4, 5, 6, 7]),
        (4, 1, 0, []),
        (4, 2, 0, [2, 6]),
        (4, 4, 0, [0, 1, 2, 4, 5, 6]),
        (3, 4, 0, [0, 1, 2, 3, 4, 5, 6, 7]),
        (1, 1, 5, []),
        (1, 3, 5, [3, 4, 5, 6, 7]),
        (4, 4, 3, [0, 1, 2, 4, 5, 6]),
        (4, 4, 4, [4, 5, 6]),
        (3, 4, 4, [2, 3, 4, 5, 6, 7]),
    ],
)
def test_steps_are_kept_that_a_later_update_flows_through(
    inner_steps: int, truncation: int, warmup: int, kept: list[int]
) -> None:
    """An update after step d flows through steps d - K + 1 to d, and d itself is at hand."""
    images = load("digits", Path()).labelled.take(torch.arange(16))
    augmenter = AffineMatrixAugmenter(noise=6, hidden=8)
    learner = outer(augmenter, images, inner_steps=inner_steps, truncation=truncation, warmup=warmup)
    assert [number for number in range(8) if learner.is_kept_after(number)] == kept


@pytest.mark.parametrize("truncation", [1, 3])
def test_an_update_descends_the_outer_loss(make_problem, relative_error, truncation: int) -> None:
    """One step of size 1 is minus the hypergradient of the loss on the last 16 digits, the problem's outer images."""
    sgd = Sgd.of(momentum=0.9, weight_decay=1e-2)
    problem = make_problem(SmallCnn((1, 8, 8), 10, width=8), num_steps=truncation, inner_steps=4, sgd=sgd)
    problem.images, problem.labels = problem.images[:64], problem.labels[:64]
    digits = load("digits", Path()).labelled.take(torch.arange(64))
    with torch.no_grad():
        for weight, value in zip(problem.augmenter.parameters(), problem.thetas[0], strict=True):
            weight.copy_(value)
    learner = outer(problem.augmenter, digits.take(torch.arange(48, 64)), truncation=truncation)
    steps, weights = problem.window()
    before = learner.theta
    _, _, hypergradient = learner.inner_gradient(problem.inner, steps[-1], steps[:-1], problem.inner.loss)
    losses, grads = hypergradient(steps[-1], weights, learner.outer_batch(), FiniteGuard(CPU))
    loss, norm = losses["outer_loss"], learner.descend(grads, FiniteGuard(CPU))["hypergradient_norm"]
    moved = [old - new for old, new in zip(before, learner.theta, strict=True)]
    expected = problem.unrolled_hypergradient()
    # Outer images come as bytes over 255 in float32.
    assert relative_error(moved, expected) < 1e-5
    assert float(loss) == pytest.approx(problem.outer_loss(weights).item(), rel=1e-6)
    assert float(norm) == pytest.approx(math.sqrt(sum(float(part.square().sum()) for part in expected)), rel=1e-5)
    assert not loss.requires_grad
    assert not norm.requires_grad
    for old, value in zip(before, problem.thetas[0], strict=True):
        assert torch.equal(old, value), "steps of the window keep the augmenter that they were taken with"


def test_updates_go_through_all_outer_images_in_turn(make_problem) -> None:
    problem = make_problem(SmallCnn((1, 8, 8), 10, width=8))
    digits = load("digits", Path()).labelled
    learner = outer(problem.augmenter, digits.take(torch.arange(64)))
    steps, weights = problem.window()
    seen = []
    loss = problem.inner.loss

    def watched(weights, images, labels, size, masks):
        seen.append(images)
        return loss(weights, images, labels, size, masks)

    object.__setattr__(problem.inner, "loss", watched)
    for _ in range(4):
        _, _, hypergradient = learner.inner_gradient(problem.inner, steps[-1], [], loss)
        _, grads = hypergradient(steps[-1], weights, learner.outer_batch(), FiniteGuard(CPU))
        learner.descend(grads, FiniteGuard(CPU))
    found = torch.cat(seen).mul(255).round().byte().flatten(1).tolist()
    assert sorted(found) == sorted(digits.images[:64].flatten(1).tolist())


def trained(seed: int, *, learned: bool, inner_steps: int, truncation: int) -> list[Record]:
    """Digits that stand upright to train on, and are turned by up to 45 degrees everywhere else."""
    torch.manual_seed(seed)
    pools = make_pools(
        load("digits", Path()),
        seed=seed,
        select_fraction=0.2,
        test_fraction=0.25,
        num_labels=1000,
        shift=Shift(rotation=45),
    )
    roles = pools.roles(learned=learned, final=False, outer_fraction=0.2, seed=seed)
    sgd = Sgd.of(momentum=0.9, weight_decay=5e-4)
    augmenter = AffineMatrixAugmenter(noise=6, hidden=32)
    learner = None
    if roles.outer is not None:
        learner = OuterLossLearner(
            augmenter,
            Batches(roles.outer, 64, derive(seed, "outer"), Workers(), CPU),
            inner_steps=inner_steps,
            truncation=truncation,
            optimizer=torch.optim.Adam(augmenter.parameters(), 0.02),
        )
    run = Training(
        Objective(torch.nn.Sequential(Normalize.of(roles.fit.images), SmallCnn((1, 8, 8), 10, width=16))),
        classification(10),
        augmenter if learned else Identity(),
        learner=learner,
        fit=Batches(roles.fit, 64, derive(seed, "fit"), Workers(), CPU),
        score=roles.score,
        part="select",
        schedule=Schedule(epochs=20, lr=0.1),
        sgd=sgd,
        seed=seed,
    )
    start = run.inputs.spread(augmenter)
    return [start, *run.epochs()]


@pytest.mark.parametrize("seed", [0, 1])
def test_it_finds_out_that_digits_are_turned(seed: int) -> None:
    plain = trained(seed, learned=False, inner_steps=1, truncation=1)
    start, *records = trained(seed, learned=True, inner_steps=1, truncation=1)
    for index in (0, 4, 9, 19):
        print(seed, index, plain[1 + index]["select_accuracy"], records[index], flush=True)
    assert records[-1]["select_accuracy"] > plain[-1]["select_accuracy"] + 5
    assert records[-1]["rotation_spread_deg"] > start["rotation_spread_deg"] + 5
    assert records[-1]["outer_loss"] < records[0]["outer_loss"]
