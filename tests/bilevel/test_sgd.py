"""The classifier's update against torch.optim.SGD, and its adjoint against autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from dabo_ray.bilevel.sgd import Sgd, SgdGroup
from dabo_ray.data.sources import load
from dabo_ray.models.small_cnn import SmallCnn

RULES = {
    "plain": Sgd.of(),
    "weight decay": Sgd.of(weight_decay=5e-4),
    "momentum": Sgd.of(momentum=0.9),
    "momentum, weight decay": Sgd.of(momentum=0.9, weight_decay=5e-4),
    "nesterov": Sgd.of(momentum=0.9, nesterov=True),
    "nesterov, weight decay": Sgd.of(momentum=0.8, weight_decay=1e-2, nesterov=True),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", RULES)
def test_twenty_steps_equal_torch_to_the_last_bit(tmp_path, name: str, dtype: torch.dtype) -> None:
    rule = RULES[name]
    (settings,) = rule.groups
    digits = load("digits", tmp_path).labelled
    torch.manual_seed(0)
    network = SmallCnn((1, 8, 8), 10, width=8).to(dtype)
    names = [name for name, _ in network.named_parameters()]
    start = [weight.detach().clone() for weight in network.parameters()]
    weights = [weight.clone().requires_grad_() for weight in start]
    velocity = [torch.zeros_like(weight) for weight in weights]
    reference = torch.optim.SGD(
        network.parameters(), 0.1, settings.momentum, 0.0, settings.weight_decay, settings.nesterov
    )
    for number in range(20):
        rows = slice(16 * number, 16 * (number + 1))
        images, labels = digits.images[rows].to(dtype) / 255, digits.labels[rows]
        lr = 0.05 * (1 + math.cos(math.pi * number / 25))
        reference.param_groups[0]["lr"] = lr
        reference.zero_grad()
        cross_entropy(network(images), labels).backward()
        reference.step()
        scores = functional_call(network, dict(zip(names, weights, strict=True)), (images,))
        grads = torch.autograd.grad(cross_entropy(scores, labels), weights)
        updated = rule.with_lr(lr).step(weights, velocity, grads)
        weights, velocity = updated.weights, updated.velocity
    for ours, theirs, first in zip(weights, network.parameters(), start, strict=True):
        assert torch.equal(ours, theirs)
        assert not torch.equal(ours, first)


def test_a_step_leaves_what_it_was_given() -> None:
    weights, velocity, grads = ([torch.full((3,), value)] for value in (1.0, 2.0, 3.0))
    updated = Sgd.of(lr=0.5, momentum=0.9, weight_decay=0.1, nesterov=True).step(weights, velocity, grads)
    assert [part[0].tolist() for part in (weights, velocity, grads)] == [[1.0] * 3, [2.0] * 3, [3.0] * 3]
    assert updated.weights[0].is_leaf
    assert updated.weights[0].requires_grad
    assert not updated.velocity[0].requires_grad


@pytest.mark.parametrize("name", RULES)
def test_the_adjoint_of_a_step_equals_autograd(name: str) -> None:
    (rule,) = RULES[name].with_lr(0.3).groups
    generator = torch.Generator().manual_seed(0)
    w, m, g, adjoint, velocity_adjoint = torch.randn(5, 7, dtype=torch.float64, generator=generator)
    w, m = w.requires_grad_(), m.requires_grad_()
    d = g.requires_grad_() + rule.weight_decay * w
    moved = rule.momentum * m + d
    updated = w - rule.lr * (d + rule.momentum * moved if rule.nesterov else moved)
    expected = torch.autograd.grad([updated, moved], [d, w, m], [adjoint, velocity_adjoint])
    sgd = Sgd(groups=(rule,))
    of_d, of_velocity = sgd.step_adjoint([adjoint], [velocity_adjoint])
    (of_w,), (of_m,) = sgd.before([adjoint], of_d, of_velocity)
    for ours, theirs in zip((of_d[0], of_w, of_m), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-15)


def test_groups_are_updated_as_torch_does_and_have_their_own_adjoints() -> None:
    generator = torch.Generator().manual_seed(0)
    lists = [list(torch.randn(3, 5, dtype=torch.float64, generator=generator)) for _ in range(5)]
    weights, velocity, grads, adjoint, velocity_adjoint = lists
    groups = (
        SgdGroup(lr=0.1, momentum=0.9, weight_decay=0.1, num_weights=1),
        SgdGroup(lr=0.02, momentum=0.5, nesterov=True, num_weights=2),
    )
    reference = [weight.clone().requires_grad_() for weight in weights]
    optimizer = torch.optim.SGD(
        [
            {"params": reference[:1], "lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
            {"params": reference[1:], "lr": 0.02, "momentum": 0.5, "nesterov": True},
        ]
    )
    for weight, buffer, grad in zip(reference, velocity, grads, strict=True):
        weight.grad = grad.clone()
        optimizer.state[weight]["momentum_buffer"] = buffer.clone()
    optimizer.step()
    sgd = Sgd(groups=groups)
    updated = sgd.step(weights, velocity, grads).weights
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(updated, reference, strict=True))
    of_step = sgd.step_adjoint(adjoint, velocity_adjoint)
    whole = (*of_step, *sgd.before(adjoint, *of_step))
    for rows, group in ((slice(1), groups[0]), (slice(1, 3), groups[1])):
        alone = Sgd(groups=(group,))
        of_group = alone.step_adjoint(adjoint[rows], velocity_adjoint[rows])
        for ours, theirs in zip(whole, (*of_group, *alone.before(adjoint[rows], *of_group)), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours[rows], theirs, strict=True))
