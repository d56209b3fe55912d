"""A convolution with hand-made first and second derivatives.

Notation: gy is the derivative of a loss with respect to y, and so on; vx, vw, vb are the weights of gx, gw, gb in the
scalar that is differentiated next, <vx, gx> + <vw, gw> + <vb, gb>.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

aten = torch.ops.aten
Context = Any
"""What torch passes to a function's methods; it has no type of its own for each function."""


class Convolution(Function):
    """A convolution of (B, C, H, W) images.

    Its gradients are bilinear in gy and in x or w, so all derivatives are convolutions again:

        gx = gy * w (transposed), gw = x * gy;  d/dgy = vx * w + x * vw + vb,  d/dx = gy * vw (transposed),
        d/dw = vx * gy, of which the last is left out unless `in_weights`.
    """

    @staticmethod
    def forward(
        ctx: Context, x: Tensor, weight: Tensor, bias: Tensor | None, settings: tuple[Any, ...], in_weights: bool
    ) -> Tensor:
        """`settings`: what aten.convolution takes after the bias."""
        ctx.save_for_backward(x, weight)
        ctx.settings, ctx.in_weights, ctx.has_bias = settings, in_weights, bias is not None
        return aten.convolution(x, weight, bias, *settings)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Context, gy: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, weight and bias, which can be differentiated."""
        x, weight = ctx.saved_tensors
        if not ctx.in_weights:
            weight = weight.detach()
        # The pass that makes the gradient is recorded; the pass that differentiates it comes here again and is not.
        in_weights = ctx.in_weights or torch.is_grad_enabled()
        wanted = [ctx.needs_input_grad[0], in_weights, in_weights and ctx.has_bias]
        return *_ConvolutionGradient.apply(gy, x, weight, ctx.settings, wanted), None, None


class _ConvolutionGradient(Function):
    @staticmethod
    def forward(
        ctx: Context, gy: Tensor, x: Tensor, weight: Tensor, settings: tuple[Any, ...], wanted: list[bool]
    ) -> tuple[Tensor | None, ...]:
        ctx.save_for_backward(gy, x, weight)
        ctx.set_materialize_grads(False)
        ctx.settings = settings
        sizes = [weight.shape[0]] if wanted[2] else None
        return aten.convolution_backward(gy, x, weight, sizes, *settings, wanted)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, vx: Tensor | None, vw: Tensor | None, vb: Tensor | None) -> tuple[Tensor | None, ...]:
        gy, x, weight = ctx.saved_tensors
        parts, of_x, of_weight = [], None, None
        if vx is not None:
            parts.append(aten.convolution(vx, weight, None, *ctx.settings))
            if ctx.needs_input_grad[2]:
                of_weight = aten.convolution_backward(gy, vx, weight, None, *ctx.settings, (False, True, False))[1]
        if vw is not None:
            parts.append(aten.convolution(x, vw, vb, *ctx.settings))
            of_x = aten.convolution_backward(gy, x, vw, None, *ctx.settings, (True, False, False))[0]
        elif vb is not None:
            parts.append(vb.view(-1, 1, 1).expand_as(gy))
        of_gy = parts[0].add_(parts[1]) if len(parts) == 2 else parts[0]
        return of_gy, of_x, of_weight, None, None
