"""Networks that are not this package's: from a user's own code, and of timm."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn.parameter import UninitializedParameter

from dabo_ray.importing import ImportedError, imported

KEY = "classifier.import"
TIMM = "timm/"
"""What the names of timm's networks begin with."""


def imported_network(
    name: str, arguments: Mapping[str, Any], shape: tuple[int, int, int], num_classes: int
) -> nn.Module:
    """What a user's function or class makes.

    It is called by names: with `num_classes`, with `shape` (channels, height, width) if it has a parameter of that
    name, and with the arguments of the study file.

    Args:
        name: as `package.module:name`.
        arguments: of the study file.
        shape: of an image.
        num_classes: outputs.

    Raises:
        ImportedError: it cannot be imported or called, or makes no network.
    """
    factory = imported(name, KEY)
    if not callable(factory):
        raise ImportedError(f"{KEY}: {name} is no function or class, but {type(factory).__name__}; name what makes it")
    given: dict[str, Any] = {"num_classes": num_classes}
    try:
        if "shape" in inspect.signature(factory).parameters:
            given["shape"] = shape
    except ValueError:
        # Of some functions in C nobody knows the parameters.
        pass
    return _made(f"{KEY}: {name}", factory, given | dict(arguments))


def timm_network(name: str, arguments: Mapping[str, Any], shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """A network of timm, with random first weights; attention is computed so that it can be differentiated twice.

    Args:
        name: as timm lists it, after `timm/`.
        arguments: of the study file, for timm.create_model.
        shape: of an image.
        num_classes: outputs.

    Raises:
        ImportedError: timm is not installed, or has no such network.
    """
    try:
        import timm
        from timm.layers import set_fused_attn
    except ImportError:
        raise ImportedError(
            f"classifier.name is {name}, and timm is not installed here: pip install timm, on all nodes"
        ) from None
    set_fused_attn(False)
    name = name.removeprefix(TIMM)
    if not timm.is_model(name):
        near = timm.list_models(f"*{name}*")[:5] or timm.list_models(f"{name[:6]}*")[:5]
        raise ImportedError(f"timm has no network {name}" + (f"; it has {', '.join(near)}" if near else ""))
    given = {"num_classes": num_classes, "in_chans": shape[0]}
    return _made(f"{TIMM}{name}", lambda **all_of: timm.create_model(name, **all_of), given | dict(arguments))


def _made(what: str, factory: Any, arguments: Mapping[str, Any]) -> nn.Module:
    try:
        network = factory(**arguments)
    except Exception as error:
        raise ImportedError(
            f"{what} fails with {', '.join(f'{key}={value!r}' for key, value in arguments.items())}: "
            f"{type(error).__name__}: {error}; look at classifier.args"
        ) from error
    if not isinstance(network, nn.Module):
        raise ImportedError(f"{what} made {type(network).__name__}; it must make a torch.nn.Module")
    if not any(True for _ in network.parameters()):
        raise ImportedError(f"{what} made a network without weights")
    if lazy := [key for key, weight in network.named_parameters() if isinstance(weight, UninitializedParameter)]:
        raise ImportedError(
            f"{what} made a network whose weights have no shape before it is called: {', '.join(lazy)}; give its lazy "
            "layers their numbers of inputs, or call it once before it is returned (it can have the shape of an image "
            "as `shape`)"
        )
    return network
