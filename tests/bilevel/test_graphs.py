"""Steps taken apart into tensors and put together again, which is what a CUDA graph is recorded from."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from dabo_ray.augment.affine import AffineMatrixAugmenter
from dabo_ray.bilevel.graphs import _tensors, _with_tensors
from dabo_ray.bilevel.hypergradient import InnerStep
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.sgd import Sgd, copied
from dabo_ray.bilevel.step import Arguments, Computed, OuterLossLearner, Updates
from dabo_ray.data.loader import Batch
from dabo_ray.models.small_cnn import SmallCnn
from dabo_ray.workers import Workers

CPU = torch.device("cpu")
AUGMENTER = AffineMatrixAugmenter(noise=6, hidden=8)


class Same(list[Batch]):
    """The same outer images in every update."""


def leaves(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.requires_grad_() for tensor in copied(tensors)]


def given(network: nn.Module, *, num_before: int, is_due: bool) -> Arguments:
    generator = torch.Generator().manual_seed(0)
    weights = leaves(list(network.parameters()))
    velocity = [torch.rand(weight.shape, generator=generator) for weight in weights]

    def step(number: int) -> InnerStep:
        return InnerStep(
            weights=leaves(weights) if is_due else weights,
            theta=leaves(list(AUGMENTER.parameters())),
            images=torch.rand(6, 1, 8, 8, generator=generator),
            labels=torch.arange(6) + number,
            params=AUGMENTER.draw(6, generator),
            size=6,
            sgd=Sgd.of(lr=0.1 / (1 + number), momentum=0.9, differentiate="direction"),
            grads=[torch.rand(weight.shape, generator=generator) for weight in weights] if number < num_before else [],
        )

    *window, latest = (step(number) for number in range(num_before + 1))
    outer = Batch(torch.rand(4, 1, 8, 8, generator=generator), torch.arange(4), 4) if is_due else None
    return Arguments(weights, velocity, latest, window, outer, is_due=is_due)


def computed(arguments: Arguments) -> Computed:
    torch.manual_seed(0)
    network = SmallCnn((1, 8, 8), 10, width=8)

    def augment(theta, images, labels, params):
        names = [name for name, _ in AUGMENTER.named_parameters()]
        weights = dict(zip(names, theta, strict=True))
        return torch.func.functional_call(AUGMENTER, weights, (images, *params)), labels

    learner = OuterLossLearner(
        AUGMENTER, Same(), inner_steps=1, truncation=3, optimizer=torch.optim.SGD(AUGMENTER.parameters(), 0.1)
    )
    return Updates(Objective(network), augment, learner, workers=Workers(), device=CPU)._compute(arguments)


@pytest.mark.parametrize(("num_before", "is_due"), [(0, False), (0, True), (2, True)])
def test_a_step_from_other_memory_gives_the_same(num_before: int, is_due: bool) -> None:
    torch.manual_seed(0)
    network = SmallCnn((1, 8, 8), 10, width=8)
    first, second = (given(network, num_before=num_before, is_due=is_due) for _ in range(2))
    tensors = list(_tensors(second))
    inputs = [copy.requires_grad_(tensor.requires_grad) for copy, tensor in zip(copied(tensors), tensors, strict=True)]
    moved = _with_tensors(second, inputs)
    assert not {part.data_ptr() for part in tensors} & {part.data_ptr() for part in inputs}
    # A learning rate on the device is for GPUs; what is computed from it is tested beside its rule.
    moved = replace(moved, step=replace(moved.step, sgd=second.step.sgd))
    moved = replace(
        moved,
        window=[replace(step, sgd=old.sgd) for step, old in zip(moved.window, second.window, strict=True)],
    )
    for part in tensors:
        part.data.fill_(0)
    theirs, ours = computed(first), computed(moved)
    for name, value in theirs.found.items():
        assert torch.equal(value, ours.found[name]), name
    for a, b in zip((*theirs.grads, *theirs.of_theta), (*ours.grads, *ours.of_theta), strict=True):
        assert torch.equal(a, b)
    for a, b in zip((*first.weights, *first.velocity), (*moved.weights, *moved.velocity), strict=True):
        assert torch.equal(a, b)


def test_learning_rates_are_among_the_tensors() -> None:
    torch.manual_seed(0)
    arguments = given(SmallCnn((1, 8, 8), 10, width=8), num_before=2, is_due=True)
    moved = _with_tensors(arguments, list(_tensors(arguments)))
    rates = [float(step.sgd.groups[0].lr) for step in (*moved.window, moved.step)]
    assert rates == pytest.approx([0.1, 0.05, 0.1 / 3])
