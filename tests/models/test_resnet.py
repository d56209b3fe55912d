"""CIFAR's residual networks: their sizes, numbers that must not change, and torchvision's ResNet as oracle."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from dabo_ray.models.resnet import CifarResNet


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def num_weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(
    ("make", "published"),
    [
        (lambda: CifarResNet(3, 10), 11_173_962),
        (lambda: CifarResNet(3, 10, (3, 4, 6, 3)), 21_282_122),
        (lambda: CifarResNet(3, 10, (3, 4, 6, 3), bottleneck=True), 23_520_842),
    ],
    ids=["resnet18", "resnet34", "resnet50"],
)
def test_published_sizes(make, published: int):
    with torch.device("meta"):
        assert num_weights(make()) == published


def test_resnet18_has_the_published_size():
    """11,173,962 for 10 classes of colour images; each class more costs 512 weights and a bias."""
    network = CifarResNet(3, 10)
    assert num_weights(network) == 11_173_962
    assert num_weights(CifarResNet(3, 100)) == 11_173_962 + 90 * 513
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 1 + 8 * 2 + 3


@pytest.mark.parametrize("side", [8, 28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(side: int, channels: int):
    images = torch.rand(2, channels, side, side, generator=seeded())
    for network in (
        CifarResNet(channels, 7, (1, 1, 1, 1), width=16),
        CifarResNet(channels, 7, (1, 1, 1, 1), bottleneck=True, width=8),
    ):
        scores = network(images)
        assert scores.shape == (2, 7)
        assert scores.isfinite().all()


def test_resolutions_and_channels_of_the_stages():
    """32 pixels: 32, 16, 8 and 4 for 64 to 512 channels."""
    shapes = []
    network = CifarResNet(3, 10)
    for block in network.stages:
        block.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    network(torch.zeros(2, 3, 32, 32))
    assert shapes == [shape for c, s in ((64, 32), (128, 16), (256, 8), (512, 4)) for shape in 2 * [(c, s, s)]]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_resnet_against_torchvision(training: bool, bottleneck: bool):
    """Torchvision's ResNet18 and ResNet50 with CIFAR's stem; their weights stand in the same order."""
    theirs = (torchvision.models.resnet50 if bottleneck else torchvision.models.resnet18)(num_classes=10)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    ours = CifarResNet(3, 10, (3, 4, 6, 3) if bottleneck else (2, 2, 2, 2), bottleneck=bottleneck)
    pairs = zip(ours.state_dict(), theirs.state_dict().values(), strict=True)
    ours.load_state_dict(dict(pairs))
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=seeded())
    expected = theirs.double().train(training)(images)
    assert torch.allclose(ours.double().train(training)(images), expected, rtol=1e-10, atol=1e-10)


def test_golden_resnet(on_ramps):
    """From `on_ramps(CifarResNet(3, 3, (1, 1, 1, 1)), 3, 16)`."""
    expected = torch.tensor(
        [
            [-2.0446596980281444, 0.522448302473951, 3.089556302976047],
            [-11.969368246486912, 4.036206331762477, 20.041780910011866],
        ],
        dtype=torch.float64,
    )
    assert torch.allclose(on_ramps(CifarResNet(3, 3, (1, 1, 1, 1)), 3, 16), expected, rtol=1e-9, atol=1e-12)


def test_golden_bottlenecks(on_ramps):
    """From `on_ramps(CifarResNet(3, 3, (1, 1, 1, 1), bottleneck=True, width=8), 3, 16)`."""
    expected = torch.tensor(
        [
            [-2.520358429632334, 0.7602569981866456, 4.040872426005625],
            [-9.297872339420518, 2.1463858434781575, 13.59064402637683],
        ],
        dtype=torch.float64,
    )
    network = CifarResNet(3, 3, (1, 1, 1, 1), bottleneck=True, width=8)
    assert torch.allclose(on_ramps(network, 3, 16), expected, rtol=1e-9, atol=1e-12)
