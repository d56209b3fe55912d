"""Torchvision's residual networks for large images."""

from __future__ import annotations

from typing import Literal

from torch import nn


def imagenet_resnet(name: Literal["resnet18", "resnet50"], channels: int, num_classes: int) -> nn.Module:
    """ResNet with a 7x7 stem and pooling, for images of 224 pixels and more.

    Args:
        name: `resnet18`, with 11,689,512 weights for 1,000 classes of colour images, or `resnet50`, with 25,557,032.
        channels: of the images.
        num_classes: outputs.

    Returns:
        A network from (B, channels, H, W) to (B, num_classes).

    Reference: He et al. 2016; the stride of a bottleneck is that of its 3x3 convolution.
    """
    # Torchvision takes a second to import, which the trials of other networks need not wait for.
    from torchvision import models

    network: nn.Module = getattr(models, name)(num_classes=num_classes)
    if channels != 3:
        # Drawn as torchvision draws the convolution that it replaces.
        network.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    return network
