"""Training with the options of ordinary training against an ordinary loop of PyTorch, and in bfloat16."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from dabo_ray.augment.affine import AffineMatrixAugmenter
from dabo_ray.augment.fixed import Identity
from dabo_ray.bilevel.dropout import Masks, dropout_by
from dabo_ray.bilevel.hypergradient import InnerProblem, adjoint_hypergradient, plain_gradient
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.schedule import Schedule
from dabo_ray.bilevel.sgd import Sgd, copied
from dabo_ray.bilevel.step import OuterLossLearner
from dabo_ray.bilevel.task import classification
from dabo_ray.bilevel.training import Training
from dabo_ray.data.images import Images
from dabo_ray.data.loader import Batches
from dabo_ray.data.sources import load
from dabo_ray.models.normalize import Normalize
from dabo_ray.models.small_cnn import SmallCnn
from dabo_ray.seeds import derive
from dabo_ray.workers import Workers

CPU = torch.device("cpu")
EPOCHS, BATCH, CLIP, SMOOTHING, DROPOUT = 3, 16, 1.2, 0.1, 0.3
CRITERION = partial(cross_entropy, reduction="sum", label_smoothing=SMOOTHING)


def part(start: int, stop: int) -> Images:
    return load("digits", Path()).labelled.take(torch.arange(start, stop))


def network() -> nn.Module:
    torch.manual_seed(0)
    body = SmallCnn((1, 8, 8), 10, width=8)
    head = body.head
    body.head = nn.Sequential(nn.Dropout(DROPOUT), head)  # type: ignore[assignment]
    return nn.Sequential(Normalize.of(part(0, 200).images), body)


def training(
    net: nn.Module, *, learned: bool, bfloat16: bool = False, inner_steps: int = 1, truncation: int = 1
) -> Training:
    torch.manual_seed(1)
    sgd = Sgd.of(momentum=0.9, weight_decay=5e-4, nesterov=True, clip_norm=CLIP)
    augmenter = AffineMatrixAugmenter(noise=6, hidden=8)
    learner = OuterLossLearner(
        augmenter,
        Batches(part(200, 250), BATCH, 1, Workers(), CPU),
        inner_steps=inner_steps,
        truncation=truncation,
        optimizer=torch.optim.SGD(augmenter.parameters(), 0.0),
    )
    return Training(
        Objective(net, CRITERION, bfloat16=bfloat16),
        classification(10),
        augmenter if learned else Identity(),
        learner=learner if learned else None,
        fit=Batches(part(0, 90), BATCH, 0, Workers(), CPU),
        score=part(300, 400),
        part="select",
        schedule=Schedule(epochs=EPOCHS, lr=0.2, warmup_epochs=1),
        sgd=sgd,
        seed=0,
    )


class GivenDropout(nn.Module):
    """Dropout whose masks are those of an update."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed, self.number = seed, 0

    def forward(self, x: Tensor) -> Tensor:
        with dropout_by(Masks(derive(self.seed, "dropout", self.number), Workers(), BATCH)):
            return x * dropout(torch.ones_like(x), DROPOUT)


def ordinary_weights(run: Training) -> tuple[list[Tensor], list[float]]:
    """Weights, and norms of the gradients before they were clipped."""
    net = copy.deepcopy(run.objective.classifier).train()
    given = GivenDropout(run.seed)
    net[1].head[0] = given  # type: ignore[index]
    optimizer = torch.optim.SGD(net.parameters(), 0.2, momentum=0.9, weight_decay=5e-4, nesterov=True)
    length = len(run.fit)
    rise = LinearLR(optimizer, 1 / length, total_iters=length - 1)
    scheduler = SequentialLR(optimizer, [rise, CosineAnnealingLR(optimizer, (EPOCHS - 1) * length)], [length])
    criterion = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    norms = []
    for number in range(EPOCHS * length):
        batch, given.number = run.fit[number], number
        images = batch.images.float() / 255
        if isinstance(run.augmentation, AffineMatrixAugmenter):
            generator = torch.Generator().manual_seed(derive(run.seed, "augment", number))
            images = run.augmentation(images, *run.augmentation.draw(BATCH, generator)).detach()
        optimizer.zero_grad()
        criterion(net(images), batch.labels).backward()
        norms.append(float(nn.utils.clip_grad_norm_(net.parameters(), CLIP)))
        optimizer.step()
        scheduler.step()
    return list(net.parameters()), norms


@pytest.mark.parametrize(
    ("learned", "inner_steps", "truncation"), [(False, 1, 1), (True, 1, 1), (True, 1, 3), (True, 4, 2)]
)
def test_the_classifier_trains_as_ordinarily(learned: bool, inner_steps: int, truncation: int) -> None:
    """The augmenter's step size is zero, so that there is one augmenter for both."""
    run = training(network(), learned=learned, inner_steps=inner_steps, truncation=truncation)
    before = torch.get_rng_state()
    list(run.epochs())
    assert torch.equal(torch.get_rng_state(), before)
    expected, norms = ordinary_weights(run)
    assert min(norms) < CLIP < max(norms), "some updates must be clipped and some not"
    for ours, theirs in zip(run.weights, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def batch_norm() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.Softplus(),
        nn.Flatten(), nn.Linear(8, 10),
    )  # fmt: skip


@pytest.mark.parametrize("make", [network, batch_norm])
@pytest.mark.parametrize("truncation", [1, 3])
def test_bfloat16_is_close_to_float32(truncation: int, make, relative_error) -> None:
    """At the same weights: bfloat16 has 8 bits, so losses within 1 %, the hypergradient within a fifth of its size."""
    run = training(make(), learned=True, inner_steps=100, truncation=truncation)
    run.objective.classifier.train()
    assert isinstance(run.learner, OuterLossLearner)
    window = []
    for number in range(3):
        weights = [weight.requires_grad_() for weight in copied(run.weights)]
        run.step(number)
        step = run.inputs.step(number, weights, run.learner.theta)
        window.append(replace(step, grads=plain_gradient(run.updates.problem, step)[1]))
    batch = run.learner.batches[0]
    losses, grads = [], []
    for bfloat16 in (False, True):
        loss = Objective(run.objective.classifier, CRITERION, bfloat16=bfloat16).loss
        outer = loss(run.weights, batch.images / 255, batch.labels, BATCH, None)
        outer_grad = torch.autograd.grad(outer, run.weights)
        assert all(grad.dtype == torch.float32 for grad in (outer, *outer_grad))
        losses.append(float(outer.detach()))
        problem = InnerProblem(run.inputs.augment, loss)
        grads.append(adjoint_hypergradient(problem, window[-truncation:], outer_grad, Workers()))
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    assert 0 < relative_error(grads[1], grads[0]) < 0.2


def test_training_in_bfloat16_keeps_float32_weights_and_learns() -> None:
    run = training(network(), learned=True, bfloat16=True)
    first, *_, last = run.epochs()
    assert {part.dtype for part in (*run.weights, *run.velocity)} == {torch.float32}
    assert last["train_loss"] < first["train_loss"]
