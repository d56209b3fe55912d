"""The classifier's update against torch.optim.SGD, and its adjoint against autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from dabo_ray.bilevel.sgd import Sgd, SgdGroup, copied, laid_out_as
from dabo_ray.data.sources import load
from dabo_ray.models.small_cnn import SmallCnn

CHANNELS = torch.channels_last
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
        rule.with_lr(lr).step(weights, velocity, grads)
    for ours, theirs, first in zip(weights, network.parameters(), start, strict=True):
        assert torch.equal(ours, theirs)
        assert not torch.equal(ours, first)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_step_leaves_the_gradients(nesterov: bool, weight_decay: float) -> None:
    weights, velocity, grads = ([torch.full((3,), value)] for value in (1.0, 2.0, 3.0))
    Sgd.of(lr=0.5, momentum=0.9, weight_decay=weight_decay, nesterov=nesterov).step(weights, velocity, grads)
    assert grads[0].tolist() == [3.0] * 3
    assert velocity[0][0] == pytest.approx(0.9 * 2 + 3 + weight_decay)


def test_copies_are_apart_and_equal() -> None:
    tensors = [torch.rand(3, requires_grad=True), torch.arange(4), torch.rand(2, 3, 4, 5).to(memory_format=CHANNELS)]
    copies = copied(tensors)
    for copy, tensor in zip(copies, tensors, strict=True):
        assert torch.equal(copy, tensor)
        assert copy.data_ptr() != tensor.data_ptr()
        assert copy.stride() == tensor.stride()
        assert not copy.requires_grad


def test_tensors_are_laid_out_as_others_only_where_they_are_not() -> None:
    others = [torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5).to(memory_format=CHANNELS)]
    tensors = [torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)]
    same, moved = laid_out_as(tensors, others)
    assert same is tensors[0]
    assert torch.equal(moved, tensors[1])
    assert moved.stride() == others[1].stride()


@pytest.mark.parametrize("name", RULES)
def test_a_learning_rate_on_the_device_gives_the_same_adjoint(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    lists = [list(torch.randn(2, 5, dtype=torch.float64, generator=generator)) for _ in range(2)]
    rule = RULES[name]
    on_device = rule.with_lr(torch.tensor(0.3, dtype=torch.float64))
    for given in (lists, (lists[0], None)):
        for ours, theirs in zip(on_device.step_adjoint(*given), rule.with_lr(0.3).step_adjoint(*given), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-15)


def test_no_later_updates_are_the_same_as_a_velocity_without_an_effect() -> None:
    adjoint = [torch.randn(5, generator=torch.Generator().manual_seed(0))]
    sgd = Sgd.of(lr=0.3, momentum=0.9, nesterov=True)
    for ours, theirs in zip(sgd.step_adjoint(adjoint, None), sgd.step_adjoint(adjoint, [torch.zeros(5)]), strict=True):
        assert torch.equal(ours[0], theirs[0])


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
    sgd.step(weights, velocity, grads)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(weights, reference, strict=True))
    of_step = sgd.step_adjoint(adjoint, velocity_adjoint)
    whole = (*of_step, *sgd.before(adjoint, *of_step))
    for rows, group in ((slice(1), groups[0]), (slice(1, 3), groups[1])):
        alone = Sgd(groups=(group,))
        of_group = alone.step_adjoint(adjoint[rows], velocity_adjoint[rows])
        for ours, theirs in zip(whole, (*of_group, *alone.before(adjoint[rows], *of_group)), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours[rows], theirs, strict=True))
