"""Numbers of networks that are the same on every machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


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


@pytest.fixture(name="on_ramps")
def _on_ramps() -> Callable[[nn.Module, int, int], Tensor]:
    return on_ramps
