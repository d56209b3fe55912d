"""A multilayer perceptron with dropout masks from outside, so that the same masks can be used again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MLP(nn.Sequential):
    """Linear layers with an activation after each but the last.

    Args:
        inputs: numbers that go in.
        widths: units of each hidden layer.
        outputs: numbers that come out.
        activation: of the hidden layers.
    """

    def __init__(self, inputs: int, widths: Sequence[int], outputs: int, activation: type[nn.Module]) -> None:
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Linear(inputs, width), activation()]
            inputs = width
        super().__init__(*layers, nn.Linear(inputs, outputs))

    def forward(self, inputs: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        """(B, outputs) of (B, inputs); `masks`, one per hidden layer if any, (B, width), multiply its units."""
        values = inputs
        for index, layer in enumerate(self):
            values = layer(values)
            # Linear layers and activations take turns.
            if masks and index % 2:
                values = values * masks[index // 2]
        return values


def dropout_masks(chances: Tensor, dropout: float, widths: Sequence[int]) -> list[Tensor]:
    """Factors of the units of each layer that keep their mean: 0 with probability `dropout`, else 1 / (1 - dropout).

    Args:
        chances: (B, sum of widths), uniform in (-1, 1).
        dropout: in (0, 1).
        widths: units of each layer.
    """
    factors = ((chances + 1) / 2 >= dropout).to(chances) / (1 - dropout)
    return list(torch.split(factors, list(widths), 1))
