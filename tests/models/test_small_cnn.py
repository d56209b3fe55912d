"""The small network: its size, its shapes, numbers that must not change."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dabo_ray.models.small_cnn import SmallCnn


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def num_weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(("channels", "classes", "width"), [(1, 10, 16), (3, 100, 32), (1, 2, 8)])
def test_small_cnn_size(channels: int, classes: int, width: int):
    convolutions = 9 * (channels * width + 2 * width * width + 4 * width * width)
    norms = 2 * (width + 2 * width + 2 * width)
    assert num_weights(SmallCnn((channels, 8, 8), classes, width)) == convolutions + norms + (2 * width + 1) * classes


@pytest.mark.parametrize("side", [8, 28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(side: int, channels: int):
    images = torch.rand(2, channels, side, side, generator=seeded())
    scores = SmallCnn((channels, side, side), 7, 8)(images)
    assert scores.shape == (2, 7)
    assert scores.isfinite().all()


def test_golden_small_cnn(on_ramps):
    """From `on_ramps(SmallCnn((1, 8, 8), 3, 8), 1, 8)`."""
    expected = torch.tensor(
        [
            [-1.6466230805712918, 0.20836777221931696, 2.0633586250099256],
            [-1.6545938018742643, 0.20715474472116735, 2.068903291316599],
        ],
        dtype=torch.float64,
    )
    assert torch.allclose(on_ramps(SmallCnn((1, 8, 8), 3, 8), 1, 8), expected, rtol=1e-9, atol=1e-12)


def test_small_cnn_sees_each_image_by_itself():
    """No statistics over the batch, so that shares of a batch take the step of the whole."""
    network = SmallCnn((1, 8, 8), 10, 8)
    images = torch.rand(6, 1, 8, 8, generator=seeded())
    apart = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(network(images), apart, atol=1e-6)
    assert not list(network.buffers())
