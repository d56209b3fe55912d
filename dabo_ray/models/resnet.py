"""Residual networks for images of 32 and 64 pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, figure 5 left)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class CifarResNet(nn.Module):
    """ResNet in the form used for CIFAR: a 3x3 stem without pooling, four stages of 64 to 512 channels.

    Args:
        channels: of the images.
        num_classes: outputs.
        blocks: basic blocks of each stage; (2, 2, 2, 2) is ResNet18, with 11,173,962 weights for 10 classes of
            colour images.

    Shape: (B, channels, H, W) -> (B, num_classes).
    """

    def __init__(self, channels: int, num_classes: int, blocks: tuple[int, int, int, int] = (2, 2, 2, 2)) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        stages: list[nn.Module] = []
        inputs = 64
        for stage, count in enumerate(blocks):
            outputs = 64 * 2**stage
            for index in range(count):
                stages.append(BasicBlock(inputs, outputs, stride=2 if stage > 0 and index == 0 else 1))
                inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores before softmax."""
        scores: Tensor = self.head(torch.mean(self.stages(self.stem(images)), (2, 3)))
        return scores
