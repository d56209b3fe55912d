"""Standardised inputs: the statistics of images, and a layer that has them."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from dabo_ray.models.normalize import Normalize


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


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
