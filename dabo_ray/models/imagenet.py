"""Torchvision's residual networks for large images, optionally with pretrained weights."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

HEAD = "fc."
"""Names of the last layer's weights begin so."""


class WeightsError(ValueError):
    """A file of pretrained weights that cannot be used."""


def imagenet_resnet(
    name: Literal["resnet18", "resnet50"], channels: int, num_classes: int, weights: Path | None = None
) -> nn.Module:
    """ResNet with a 7x7 stem and pooling, for images of 224 pixels and more.

    Args:
        name: `resnet18`, with 11,689,512 weights for 1,000 classes of colour images, or `resnet50`, with 25,557,032.
        channels: of the images.
        num_classes: outputs.
        weights: a file with torchvision's state dictionary of this network; None for random first weights. A last layer
            for another number of classes is left out, and starts anew.

    Returns:
        A network from (B, channels, H, W) to (B, num_classes).

    Raises:
        WeightsError: the file cannot be read, or its weights are those of another network.

    Reference: He et al. 2016; the stride of a bottleneck is that of its 3x3 convolution.
    """
    # Torchvision takes a second to import, which the trials of other networks need not wait for.
    from torchvision import models

    network: nn.Module = getattr(models, name)(num_classes=num_classes)
    if channels != 3:
        # Drawn as torchvision draws the convolution that it replaces.
        network.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    if weights is not None:
        load_pretrained(network, weights)
    return network


def load_pretrained(network: nn.Module, path: Path) -> None:
    """Puts the weights of a file into a network, all but a last layer of another number of classes.

    The file is read as tensors and plain containers alone: it cannot run code.

    Raises:
        WeightsError: the file cannot be read, or its weights are those of another network.
    """
    given = dict(_state_of(path))
    own = network.state_dict()
    if any(name in given and given[name].shape != own[name].shape for name in own if name.startswith(HEAD)):
        given = {name: own[name] if name.startswith(HEAD) else value for name, value in given.items()}
    missing, unknown = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    other = [name for name in own.keys() & given.keys() if given[name].shape != own[name].shape]
    wrong = [
        f"{len(names)} {words} ({min(names)} ...)"
        for names, words in (
            (missing, "missing"),
            (unknown, "of no layer of this network"),
            (other, "of another shape"),
        )
        if names
    ]
    if wrong:
        raise WeightsError(f"the weights in {path} are those of another network: {'; '.join(wrong)}")
    network.load_state_dict(given)


def _state_of(path: Path) -> Mapping[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error.strerror or error}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path} is not a file of weights, as torch.save writes a state_dict: {reason}") from None
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path} holds no state_dict, which maps names to tensors; save network.state_dict()")
    return content
