"""The perceptron against torch's own layers, and its dropout against its frequencies."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dabo_ray.augment.mlp import MLP, dropout_masks


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
@pytest.mark.parametrize("widths", [(), (4,), (4, 9)])
def test_without_masks_it_is_a_sequence_of_layers(widths, activation) -> None:
    network = MLP(3, widths, 2, activation)
    inputs = torch.rand(5, 3, generator=seeded())
    assert torch.equal(network(inputs), nn.Sequential(*network)(inputs))
    assert sum(weight.numel() for weight in network.parameters()) == sum(
        (before + 1) * after for before, after in zip((3, *widths), (*widths, 2), strict=True)
    )


def test_masks_multiply_the_units_after_the_activation() -> None:
    network = MLP(3, (4, 6), 2, nn.Tanh)
    inputs, masks = torch.rand(5, 3, generator=seeded()), [torch.rand(5, 4), torch.rand(5, 6)]
    hidden = network[1](network[0](inputs)) * masks[0]
    hidden = network[3](network[2](hidden)) * masks[1]
    torch.testing.assert_close(network(inputs, masks), network[4](hidden))


@pytest.mark.parametrize("dropout", [0.1, 0.5, 0.9])
def test_masks_leave_out_their_part_and_keep_the_mean(dropout) -> None:
    chances = torch.rand(20_000, 7, generator=seeded()).mul(2).sub(1)
    first, second = dropout_masks(chances, dropout, (3, 4))
    assert (first.shape, second.shape) == ((20_000, 3), (20_000, 4))
    torch.testing.assert_close(first.unique(), torch.tensor([0, 1 / (1 - dropout)]))
    assert float((second == 0).float().mean()) == pytest.approx(dropout, abs=0.01)
    assert float(torch.cat((first, second), 1).mean()) == pytest.approx(1, rel=0.02)
