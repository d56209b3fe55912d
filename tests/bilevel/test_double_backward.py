"""First and second derivatives against torch's own, in float64."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy

from dabo_ray.bilevel.double_backward.network import differentiated_twice

NETWORKS = {
    "strides": lambda: nn.Conv2d(3, 4, 3, 2, padding=1),
    "uneven": lambda: nn.Conv2d(3, 4, (3, 2), (1, 2), padding=(0, 1), dilation=(2, 1)),
    "groups": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3, groups=2, bias=False)),
    "same": lambda: nn.Conv2d(3, 4, 3, padding="same"),
    "batch norm": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Softplus()),
    "no statistics kept": lambda: nn.BatchNorm2d(3, track_running_stats=False),
    "no weights": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False), nn.Tanh()),
    "not in training": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval(), nn.Tanh()),
    "of vectors": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.BatchNorm1d(5), nn.Tanh()),
}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    body = NETWORKS[name]()
    with torch.no_grad():
        size = body(torch.zeros(2, 3, 8, 8)).flatten(1).shape[1]
    net = nn.Sequential(body, nn.Flatten(), nn.Linear(size, 4)).double()
    for part in (*net.parameters(), *net.buffers()):
        if part.is_floating_point():
            nn.init.uniform_(part, 0.1, 1)
    return net


def derivatives(net: nn.Module, context: contextlib.AbstractContextManager[Any], *, in_weights: bool) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(5, 3, 8, 8, dtype=torch.float64, generator=generator).requires_grad_()
    weights = list(net.parameters())
    directions = [torch.randn(weight.shape, dtype=torch.float64, generator=generator) for weight in weights]
    with context:
        loss = cross_entropy(net(images), torch.tensor([0, 1, 2, 3, 0]))
    grads = torch.autograd.grad(loss, weights, create_graph=True)
    wanted = [images, *weights] if in_weights else [images]
    seconds = torch.autograd.grad(grads, wanted, directions)
    return [loss, *grads, *seconds, *net.buffers()]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("in_weights", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_torch(name: str, in_weights: bool, channels_last: bool) -> None:
    net = network(name).to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    theirs = derivatives(copy.deepcopy(net), contextlib.nullcontext(), in_weights=in_weights)
    ours = derivatives(net, differentiated_twice(in_weights=in_weights), in_weights=in_weights)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_asking_for_what_was_declined_is_an_error() -> None:
    conv = nn.Conv2d(3, 4, 3, bias=False)
    with differentiated_twice(in_weights=False):
        loss = conv(torch.randn(2, 3, 8, 8, requires_grad=True)).square().sum()
    (grad,) = torch.autograd.grad(loss, conv.weight, create_graph=True)
    with pytest.raises(RuntimeError, match="appears to not have been used"):
        torch.autograd.grad(grad.square().sum(), conv.weight)


def test_declined_weights_cost_no_weight_gradient() -> None:
    """Each goes back to its input twice; weights share these calls, but for d(gx)/d(weight) of the second."""
    calls = {}
    for in_weights in (False, True):
        convs = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Tanh(), nn.Conv2d(4, 4, 3, bias=False))
        weights = list(convs.parameters())
        images = torch.randn(2, 3, 8, 8, requires_grad=True)
        with differentiated_twice(in_weights=in_weights):
            loss = convs(images).square().sum()
        grads = torch.autograd.grad(loss, weights, create_graph=True)
        with torch.profiler.profile() as profile:
            torch.autograd.grad(
                grads, [images, *weights][: None if in_weights else 1], [torch.ones_like(w) for w in weights]
            )
        calls[in_weights] = sum(event.name == "aten::convolution_backward" for event in profile.events())
    assert calls == {False: 4, True: 5}


def test_only_within_the_context() -> None:
    images, weight = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 3, 3, requires_grad=True)
    with differentiated_twice(in_weights=True):
        inside = conv2d(images, weight)
    assert "_ConvolutionBackward" not in str(inside.grad_fn)
    assert "ConvolutionBackward0" in str(conv2d(images, weight).grad_fn)
