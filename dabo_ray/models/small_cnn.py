"""A small network for small images."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn


class SmallCnn(nn.Module):
    """Three 3x3 convolutions with group normalisation and ReLU, mean over the plane, one linear layer.

    Without statistics over the batch, so that any number of workers takes the same step as one.

    Args:
        shape: of an image, (channels, height, width), sides of 4 and more. Two convolutions halve the resolution: the
            first two where the sides have 16 pixels and more, else the last two.
        num_classes: outputs.
        width: channels of the first convolution, a multiple of 8; the second and third have twice as many.

    Shape: (B, channels, height, width) -> (B, num_classes) class scores before softmax.

    >>> import torch
    >>> SmallCnn((1, 28, 28), num_classes=10)(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(self, shape: tuple[int, int, int], num_classes: int, width: int = 32) -> None:
        super().__init__()
        channels, *sides = shape
        strides = (2, 2, 1) if min(sides) >= 16 else (1, 2, 2)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        widths = (channels, width, 2 * width, 2 * width)
        for number, stride in enumerate(strides):
            inputs, outputs = widths[number : number + 2]
            layers[f"conv{number}"] = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
            layers[f"norm{number}"] = nn.GroupNorm(8, outputs)
            layers[f"relu{number}"] = nn.ReLU()
        self.features = nn.Sequential(layers)
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores before softmax."""
        scores: Tensor = self.head(self.features(images).mean((2, 3)))
        return scores
