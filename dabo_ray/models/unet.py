"""A small U-Net for segmentation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d


class UNet(nn.Module):
    """Two 3x3 convolutions with group normalisation and ReLU on each of three resolutions, on the way down and up.

    Without statistics over the batch, so that any number of workers takes the same step as one.

    Args:
        channels: of an image.
        num_classes: outputs of each pixel.
        width: channels at the full resolution, a multiple of 8; twice and four times as many below.

    Shape: (B, channels, H, W) -> (B, num_classes, H, W) class scores before softmax; sides of 8 pixels and more.

    Reference: Ronneberger et al. 2015, with nearest upsampling in the place of transposed convolutions.

    >>> UNet(3, num_classes=4, width=8)(torch.rand(2, 3, 20, 33)).shape
    torch.Size([2, 4, 20, 33])
    """

    def __init__(self, channels: int, num_classes: int, width: int = 32) -> None:
        super().__init__()
        self.down = nn.ModuleList([_block(channels, width), _block(width, 2 * width), _block(2 * width, 4 * width)])
        self.up = nn.ModuleList([_block(6 * width, 2 * width), _block(3 * width, width)])
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores of every pixel."""
        skipped: list[Tensor] = []
        features = images
        for level, block in enumerate(self.down):
            features = block(max_pool2d(features, 2) if level else features)
            skipped.append(features)
        skipped.pop()
        for block in self.up:
            beside = skipped.pop()
            features = block(torch.cat((interpolate(features, beside.shape[-2:]), beside), 1))
        scores: Tensor = self.head(features)
        return scores


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(8, outputs),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)
