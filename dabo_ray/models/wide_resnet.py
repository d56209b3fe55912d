"""Wide residual networks for images of 32 pixels."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional


class WideBlock(nn.Module):
    """Normalisation, ReLU and a 3x3 convolution, twice, beside a shortcut (Zagoruyko and Komodakis 2016, figure 1)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.projection = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        active = functional.relu(self.norm1(x))
        y: Tensor = self.conv2(functional.relu(self.norm2(self.conv1(active))))
        # Where the shape changes, both ways start from the activated input.
        return y + (x if self.projection is None else self.projection(active))


class WideResNet(nn.Module):
    """WRN-depth-widen: three stages of 16, 32 and 64 times `widen` channels, normalisation before convolution.

    Args:
        channels: of the images.
        num_classes: outputs.
        depth: 6 n + 4 for n blocks a stage.
        widen: the factor of the channels; (40, 2) has 2,243,546 weights for 10 classes of colour images, (28, 10) has
            36,479,194.
        base: channels of the first convolution.

    Shape: (B, channels, H, W), sides a multiple of 4 -> (B, num_classes) class scores before softmax.

    Raises:
        ValueError: the depth is not 6 n + 4.

    Reference: Zagoruyko and Komodakis 2016, without dropout.

    >>> WideResNet(channels=3, num_classes=10, depth=10, widen=1)(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, channels: int, num_classes: int, depth: int, widen: int, *, base: int = 16) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if blocks < 1 or rest:
            raise ValueError(f"got depth {depth}; it must be 6 n + 4, such as 16, 28 or 40")
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["stem"] = nn.Conv2d(channels, base, 3, padding=1, bias=False)
        inputs = base
        for stage in range(3):
            outputs = base * widen * 2**stage
            for index in range(blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                layers[f"stage{stage}_block{index}"] = WideBlock(inputs, outputs, stride)
                inputs = outputs
        layers["norm"] = nn.BatchNorm2d(inputs)
        layers["relu"] = nn.ReLU()
        self.features = nn.Sequential(layers)
        self.head = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Class scores before softmax."""
        scores: Tensor = self.head(torch.mean(self.features(images), (2, 3)))
        return scores
