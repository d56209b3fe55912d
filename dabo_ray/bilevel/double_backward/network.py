"""Convolutions and batch normalisation that are differentiated twice at the least cost, in any network of torch.

torch's own second derivatives compute what nobody asked for (a convolution's with respect to its weights) or take many
passes over the activations (batch normalisation's). Within `differentiated_twice` the same calls of the same modules
lead to functions that know their second derivatives; all else is left to torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from dabo_ray.bilevel.double_backward.batch_norm import BatchNorm
from dabo_ray.bilevel.double_backward.convolution import Convolution


class differentiated_twice(TorchFunctionMode):
    """A context in which gradients are made that will be differentiated once more.

    Args:
        in_weights: whether derivatives of the gradient with respect to the convolutions' weights can be asked for.
            They cost two ordinary weight gradients; without them, asking is an error.
    """

    def __init__(self, *, in_weights: bool) -> None:
        super().__init__()
        self.in_weights = in_weights

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """A function of torch, or the one that stands in for it."""
        del types
        kwargs = kwargs or {}
        if func is torch.conv2d:
            return _conv2d(self.in_weights, *args, **kwargs)
        if func is functional.batch_norm:
            return _batch_norm(*args, **kwargs)
        return func(*args, **kwargs)


def _conv2d(
    in_weights: bool,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    if isinstance(padding, str) or input.dim() != 4:
        return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
    device = input.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        input, weight = input.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    settings = (_pair(stride), _pair(padding), _pair(dilation), False, [0, 0], groups)
    out: Tensor = Convolution.apply(input, weight, bias, settings, in_weights)
    return out


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value) * (2 // len(value))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training or weight is None or bias is None:
        return functional.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    out: Tensor = BatchNorm.apply(input, weight, bias, running_mean, running_var, momentum, eps)
    return out
