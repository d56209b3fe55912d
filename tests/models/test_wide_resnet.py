"""Wide residual networks against their definition, written out layer by layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dabo_ray.models.wide_resnet import WideResNet


def written_out(network: WideResNet, images: Tensor, blocks: int) -> Tensor:
    """The forward pass as the paper's table 1 and figure 1 (a) read, from the weights' names alone."""
    w = dict(network.named_parameters())

    def active(x: Tensor, name: str) -> Tensor:
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
        normal = (x - mean) / (variance + 1e-5).sqrt()
        return (normal * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]).clamp(min=0)

    x = functional.conv2d(images, w["features.stem.weight"], padding=1)
    for stage in range(3):
        for block in range(blocks):
            name = f"features.stage{stage}_block{block}"
            stride = 2 if stage > 0 and block == 0 else 1
            before = active(x, f"{name}.norm1")
            y = functional.conv2d(before, w[f"{name}.conv1.weight"], stride=stride, padding=1)
            y = functional.conv2d(active(y, f"{name}.norm2"), w[f"{name}.conv2.weight"], padding=1)
            projection = w.get(f"{name}.projection.weight")
            x = y + (x if projection is None else functional.conv2d(before, projection, stride=stride))
    return active(x, "features.norm").mean((2, 3)) @ w["head.weight"].T + w["head.bias"]


@pytest.mark.parametrize(("depth", "widen", "channels"), [(10, 2, 3), (16, 1, 1), (22, 1, 3)])
def test_forward(depth: int, widen: int, channels: int):
    network = WideResNet(channels, 5, depth, widen, base=4).double()
    images = torch.rand(4, channels, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(images), written_out(network, images, (depth - 4) // 6))


def test_the_first_block_of_a_narrow_network_needs_no_projection():
    network = WideResNet(3, 10, 10, 1)
    assert network.features.stage0_block0.projection is None
    assert network.features.stage1_block0.projection is not None


@pytest.mark.parametrize("depth", [4, 12, 39])
def test_depths_that_do_not_exist(depth: int):
    with pytest.raises(ValueError, match=rf"depth {depth}; it must be 6 n \+ 4"):
        WideResNet(3, 10, depth, 1)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def num_weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(
    ("make", "published"),
    [
        (lambda: WideResNet(3, 10, depth=40, widen=2), 2_243_546),
        (lambda: WideResNet(3, 10, depth=28, widen=10), 36_479_194),
    ],
    ids=["40-2", "28-10"],
)
def test_published_sizes(make, published: int):
    with torch.device("meta"):
        assert num_weights(make()) == published


@pytest.mark.parametrize("side", [8, 28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(side: int, channels: int):
    images = torch.rand(2, channels, side, side, generator=seeded())
    scores = WideResNet(channels, 7, depth=10, widen=2)(images)
    assert scores.shape == (2, 7)
    assert scores.isfinite().all()


def test_golden_wide_resnet(on_ramps):
    """From `on_ramps(WideResNet(3, 3, depth=10, widen=2, base=4), 3, 16)`."""
    expected = torch.tensor(
        [
            [-1.1549406376003697, 0.0776268484778781, 1.3101943345541258],
            [-2.5503924424948314, 0.47921020122890867, 3.508812844952649],
        ],
        dtype=torch.float64,
    )
    assert torch.allclose(on_ramps(WideResNet(3, 3, 10, 2, base=4), 3, 16), expected, rtol=1e-9, atol=1e-12)
