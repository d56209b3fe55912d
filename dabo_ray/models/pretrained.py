"""Pretrained weights from files, for any network."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


class WeightsError(ValueError):
    """A file of pretrained weights that cannot be used."""


def last_layer(network: nn.Module) -> str:
    """Name of the last module with weights of its own."""
    *_, name = (name for name, _ in network.named_parameters())
    return str(name).rpartition(".")[0]


def load_pretrained(network: nn.Module, path: Path) -> None:
    """Puts the weights of a file into a network, all but a last layer of another number of classes.

    The last layer is the last module with weights of its own. The file is read as tensors and plain containers alone:
    it cannot run code.

    Raises:
        WeightsError: the file cannot be read, or its weights are those of another network.
    """
    given = dict(_state_of(path))
    own = network.state_dict()
    head = f"{last_layer(network)}."
    if any(name in given and given[name].shape != own[name].shape for name in own if name.startswith(head)):
        given = {name: own[name] if name.startswith(head) else value for name, value in given.items()}
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
