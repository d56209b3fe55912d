"""Residual networks for images of 32 and 64 pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, figure 5 left)."""

    expansion = 1
    """Channels that come out over `width`."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, width, H / stride, W / stride)."""
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, around a shortcut (He et al. 2016, figure 5 right).

    The stride is that of the 3x3 convolution, as in torchvision.
    """

    expansion = 4
    """Channels that come out over `width`."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(4 * width)
        self.shortcut = _shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 4 * width, H / stride, W / stride)."""
        y = functional.relu(self.norm1(self.conv1(x)))
        y = functional.relu(self.norm2(self.conv2(y)))
        return functional.relu(self.norm3(self.conv3(y)) + self.shortcut(x))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class CifarResNet(nn.Module):
    """ResNet in the form used for CIFAR: a 3x3 stem without pooling, four stages that halve the resolution thrice.

    Args:
        channels: of the images.
        num_classes: outputs.
        blocks: of each stage; (2, 2, 2, 2) is ResNet18, with 11,173,962 weights for 10 classes of colour images,
            (3, 4, 6, 3) ResNet34, with 21,282,122, and with bottlenecks ResNet50, with 23,520,842.
        bottleneck: three convolutions a block instead of two.
        width: of the first stage; each stage has twice the width of the one before.

    Shape: (B, channels, H, W), sides a multiple of 8 -> (B, num_classes) class scores before softmax.

    Reference: He et al. 2016, in the form that trainings on CIFAR commonly take.

    >>> network = CifarResNet(channels=3, num_classes=10, blocks=(1, 1, 1, 1), width=8)
    >>> network(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        blocks: tuple[int, int, int, int] = (2, 2, 2, 2),
        *,
        bottleneck: bool = False,
        width: int = 64,
    ) -> None:
        super().__init__()
        block = Bottleneck if bottleneck else BasicBlock
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        stages: list[nn.Module] = []
        inputs = width
        for stage, count in enumerate(blocks):
            for index in range(count):
                stages.append(block(inputs, width * 2**stage, stride=2 if stage > 0 and index == 0 else 1))
                inputs = width * 2**stage * block.expansion
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores before softmax."""
        scores: Tensor = self.head(torch.mean(self.stages(self.stem(images)), (2, 3)))
        return scores
