"""The classifier's update against torch.optim.SGD, and its adjoint against autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from dabo_ray.bilevel.inner import Sgd
from dabo_ray.data.sources import load
from dabo_ray.models.small_cnn import SmallCnn

RULES = {
    "plain": Sgd(),
    "weight decay": Sgd(weight_decay=5e-4),
    "momentum": Sgd(momentum=0.9),
    "momentum, weight decay": Sgd(momentum=0.9, weight_decay=5e-4),
    "nesterov": Sgd(momentum=0.9, nesterov=True),
    "nesterov, weight decay": Sgd(momentum=0.8, weight_decay=1e-2, nesterov=True),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", RULES)
def test_twenty_steps_equal_torch_to_the_last_bit(tmp_path, name: str, dtype: torch.dtype) -> None:
    rule = RULES[name]
    digits = load("digits", tmp_path).labelled
    torch.manual_seed(0)
    network = SmallCnn((1, 8, 8), 10, width=8).to(dtype)
    names = [name for name, _ in network.named_parameters()]
    start = [weight.detach().clone() for weight in network.parameters()]
    weights = [weight.clone().requires_grad_() for weight in start]
    velocity = [torch.zeros_like(weight) for weight in weights]
    reference = torch.optim.SGD(
        network.parameters(), 0.1, momentum=rule.momentum, weight_decay=rule.weight_decay, nesterov=rule.nesterov
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
        updated = rule.step(weights, velocity, grads, lr)
        weights, velocity = updated.weights, updated.velocity
    for ours, theirs, first in zip(weights, network.parameters(), start, strict=True):
        assert torch.equal(ours, theirs)
        assert not torch.equal(ours, first)


def test_a_step_leaves_what_it_was_given() -> None:
    weights, velocity, grads = ([torch.full((3,), value)] for value in (1.0, 2.0, 3.0))
    updated = Sgd(momentum=0.9, weight_decay=0.1, nesterov=True).step(weights, velocity, grads, 0.5)
    assert [part[0].tolist() for part in (weights, velocity, grads)] == [[1.0] * 3, [2.0] * 3, [3.0] * 3]
    assert updated.weights[0].is_leaf
    assert updated.weights[0].requires_grad
    assert not updated.velocity[0].requires_grad


@pytest.mark.parametrize("name", RULES)
def test_the_adjoint_of_a_step_equals_autograd(name: str) -> None:
    rule, lr = RULES[name], 0.3
    generator = torch.Generator().manual_seed(0)
    w, m, g, adjoint, velocity_adjoint = torch.randn(5, 7, dtype=torch.float64, generator=generator)
    d = (g + rule.weight_decay * w).requires_grad_()
    m = m.requires_grad_()
    moved = rule.momentum * m + d
    updated = w - lr * (d + rule.momentum * moved if rule.nesterov else moved)
    of_d, of_m = torch.autograd.grad([updated, moved], [d, m], [adjoint, velocity_adjoint])
    through, of_velocity = rule.step_adjoint([adjoint], [velocity_adjoint], lr)
    torch.testing.assert_close(through[0], of_d, rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(rule.momentum * of_velocity[0], of_m, rtol=1e-14, atol=1e-15)
