"""Networks: their sizes, the shapes they take, numbers that must not change, and torchvision's ResNet as oracle."""

from __future__ import annotations

import pytest
import torch
import torchvision
from sklearn.datasets import load_digits
from torch import Tensor, nn

from dabo_ray.models.imagenet import imagenet_resnet
from dabo_ray.models.normalize import Normalize
from dabo_ray.models.resnet import CifarResNet
from dabo_ray.models.small_cnn import SmallCnn
from dabo_ray.models.wide_resnet import WideResNet


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
        (lambda: WideResNet(3, 10, depth=40, widen=2), 2_243_546),
        (lambda: WideResNet(3, 10, depth=28, widen=10), 36_479_194),
        (lambda: imagenet_resnet("resnet18", 3, 1000), 11_689_512),
        (lambda: imagenet_resnet("resnet50", 3, 1000), 25_557_032),
    ],
    ids=["resnet18", "resnet34", "resnet50", "wrn-40-2", "wrn-28-10", "imagenet resnet18", "imagenet resnet50"],
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


@pytest.mark.parametrize(("channels", "classes", "width"), [(1, 10, 16), (3, 100, 32), (1, 2, 8)])
def test_small_cnn_size(channels: int, classes: int, width: int):
    convolutions = 9 * (channels * width + 2 * width * width + 4 * width * width)
    norms = 2 * (width + 2 * width + 2 * width)
    assert num_weights(SmallCnn((channels, 8, 8), classes, width)) == convolutions + norms + (2 * width + 1) * classes


@pytest.mark.parametrize("side", [8, 28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(side: int, channels: int):
    images = torch.rand(2, channels, side, side, generator=seeded())
    for network in (
        SmallCnn((channels, side, side), 7, 8),
        CifarResNet(channels, 7, (1, 1, 1, 1), width=16),
        CifarResNet(channels, 7, (1, 1, 1, 1), bottleneck=True, width=8),
        WideResNet(channels, 7, depth=10, widen=2),
        imagenet_resnet("resnet18", channels, 7),
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


def on_ramps(network: nn.Module, channels: int, side: int) -> Tensor:
    """Scores of two images, with every weight and all pixels rising in equal steps."""
    network.double()
    with torch.no_grad():
        for weight in network.parameters():
            ramp = torch.linspace(-1, 1, weight.numel(), dtype=torch.float64).reshape(weight.shape)
            weight.copy_(ramp / max(1, weight[0].numel()) ** 0.5)
    pixels = torch.linspace(0, 1, 2 * channels * side * side, dtype=torch.float64)
    scores: Tensor = network(pixels.reshape(2, channels, side, side))
    return scores.detach()


def test_golden_small_cnn():
    """From `on_ramps(SmallCnn((1, 8, 8), 3, 8), 1, 8)`."""
    expected = torch.tensor(
        [
            [-1.6466230805712918, 0.20836777221931696, 2.0633586250099256],
            [-1.6545938018742643, 0.20715474472116735, 2.068903291316599],
        ],
        dtype=torch.float64,
    )
    assert torch.allclose(on_ramps(SmallCnn((1, 8, 8), 3, 8), 1, 8), expected, rtol=1e-9, atol=1e-12)


def test_golden_resnet():
    """From `on_ramps(CifarResNet(3, 3, (1, 1, 1, 1)), 3, 16)`."""
    expected = torch.tensor(
        [
            [-2.0446596980281444, 0.522448302473951, 3.089556302976047],
            [-11.969368246486912, 4.036206331762477, 20.041780910011866],
        ],
        dtype=torch.float64,
    )
    assert torch.allclose(on_ramps(CifarResNet(3, 3, (1, 1, 1, 1)), 3, 16), expected, rtol=1e-9, atol=1e-12)


def test_golden_bottlenecks():
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


def test_golden_wide_resnet():
    """From `on_ramps(WideResNet(3, 3, depth=10, widen=2, base=4), 3, 16)`."""
    expected = torch.tensor(
        [
            [-1.1549406376003697, 0.0776268484778781, 1.3101943345541258],
            [-2.5503924424948314, 0.47921020122890867, 3.508812844952649],
        ],
        dtype=torch.float64,
    )
    assert torch.allclose(on_ramps(WideResNet(3, 3, 10, 2, base=4), 3, 16), expected, rtol=1e-9, atol=1e-12)


def test_golden_imagenet_resnet():
    """From `on_ramps(imagenet_resnet("resnet18", 3, 3), 3, 32)`."""
    expected = torch.tensor(
        [
            [-1.0001101633467593, 1.0656801763161776e-05, 1.0001314769502856],
            [-16.124230346031215, 7.562116326884466, 31.248462999800147],
        ],
        dtype=torch.float64,
    )
    assert torch.allclose(on_ramps(imagenet_resnet("resnet18", 3, 3), 3, 32), expected, rtol=1e-9, atol=1e-12)


def test_small_cnn_sees_each_image_by_itself():
    """No statistics over the batch, so that shares of a batch take the step of the whole."""
    network = SmallCnn((1, 8, 8), 10, 8)
    images = torch.rand(6, 1, 8, 8, generator=seeded())
    apart = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(network(images), apart, atol=1e-6)
    assert not list(network.buffers())


@pytest.mark.parametrize("channels", [1, 3])
def test_normalize_statistics(channels: int):
    """Against NumPy in float64."""
    pixels = torch.randint(0, 256, (40, channels, 5, 7), dtype=torch.uint8, generator=seeded())
    layer = Normalize.of(pixels)
    plain = pixels.numpy() / 255.0
    for channel in range(channels):
        values = plain[:, channel]
        assert layer.mean[channel].item() == pytest.approx(values.mean(), rel=1e-6)
        assert layer.std[channel].item() == pytest.approx(values.std(ddof=1), rel=1e-6)


def test_normalized_digits_have_mean_zero_and_variance_one():
    pixels = torch.from_numpy(load_digits().images[:, None] * 15.9).to(torch.uint8)
    normal = Normalize.of(pixels)(pixels.float() / 255)
    assert normal.mean().item() == pytest.approx(0, abs=1e-5)
    assert normal.std().item() == pytest.approx(1, abs=1e-5)


def test_a_channel_without_variance_is_not_divided_by_zero():
    pixels = torch.zeros(4, 3, 2, 2, dtype=torch.uint8)
    pixels[:, 1] = 255
    layer = Normalize.of(pixels)
    assert layer.mean.flatten().tolist() == [0.0, 1.0, 0.0]
    assert (layer(pixels.float() / 255) == 0).all()


def test_normalize_is_saved_but_not_trained():
    layer = Normalize(torch.tensor([0.5]), torch.tensor([0.25]))
    assert set(layer.state_dict()) == {"mean", "std"}
    assert not list(layer.parameters())
    assert layer(torch.ones(1, 1, 2, 2)).unique().tolist() == [2.0]
