"""Batch normalisation with hand-made first and second derivatives; notation as in `convolution`.

All statements are about one channel, of n numbers; <a> is the mean of a over them. With s = (variance + eps)^(-1/2) and
h = (x - mean) s:

    y = w h + b,  gx = w s (gy - <gy> - h <gy h>),  gw = n <gy h>,  gb = n <gy>.

Derivation of the second derivatives. With m_v = <vx>, m_g = <gy>, r_v = <vx h>, r_g = <gy h> and the covariance that
neither mean nor h explains, c = <vx gy> - m_v m_g - r_v r_g, the scalar to differentiate is

    S = sum(vx gx) + vw gw + vb gb = n (w s c + vw r_g + vb m_g).

Its derivatives with respect to w and gy can be read off (that for gy has the form of gx, with vx for gy):

    dS/dw = n s c,  dS/dgy = w s (vx - m_v - h r_v) + vw h + vb.

x acts by s and h alone: ds/dx_j = -s^2 h_j / n and dh_i/dx_j = s ((i = j) - 1/n - h_i h_j / n), so that
d<a h>/dx = (s / n) (a - <a> - h <a h>) for any a. Hence, with dc = -r_g dr_v - r_v dr_g,

    dS/dx = -w s^2 c h - w s^2 r_g (vx - m_v - h r_v) + s (vw - w s r_v) (gy - m_g - h r_g),

which is gathered into one number per channel for each of gy, vx and h, and a constant:

    by_gy = s (vw - w s r_v),  by_vx = -w s^2 r_g,  by_h = -s (vw r_g + w s (c - 2 r_v r_g)),
    constant = -by_gy m_g - by_vx m_v.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

aten = torch.ops.aten
Context = Any
"""What torch passes to a function's methods; it has no type of its own for each function."""


class BatchNorm(Function):
    """Batch normalisation by the statistics of the batch, over all dimensions but the second."""

    @staticmethod
    def forward(
        ctx: Context,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        momentum: float,
        eps: float,
    ) -> Tensor:
        """Running statistics move in place, as in torch."""
        # As torch's own, by whichever library it chooses for these tensors; its number and its notes are for backward.
        found = aten._batch_norm_impl_index(x, weight, bias, running_mean, running_var, True, momentum, eps, True)
        y, mean, scale, notes, ctx.library = found
        ctx.save_for_backward(x, weight, mean, scale, notes)
        ctx.eps = eps
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Context, gy: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, weight and bias, which can be differentiated."""
        return *_BatchNormGradient.apply(gy, *ctx.saved_tensors, ctx.library, ctx.eps), None, None, None, None


class _BatchNormGradient(Function):
    @staticmethod
    def forward(
        ctx: Context,
        gy: Tensor,
        x: Tensor,
        weight: Tensor,
        mean: Tensor,
        scale: Tensor,
        notes: Tensor,
        library: int,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        gx, gw, gb = aten._batch_norm_impl_index_backward(
            library, x, gy.to(x.dtype), weight, None, None, mean, scale, True, eps, [True, True, True], notes
        )
        ctx.save_for_backward(gy, x, weight, mean, scale, gw, gb)
        ctx.eps = eps
        return gx, gw, gb

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, vx: Tensor, vw: Tensor, vb: Tensor) -> tuple[Tensor | None, ...]:
        """dS/dgy, dS/dx and dS/dw, see the module."""
        gy, x, w, mean, s, gw, gb = ctx.saved_tensors
        if kernel := _kernel_for(x):
            return *kernel(vx, vw, vb, gy, x, w, mean, s, gw, gb), *[None] * 5
        # Statistics of bfloat16 images are float32.
        gy, x, vx = (part.to(s.dtype) for part in (gy, x, vx))
        n = x.numel() // x.shape[1]
        of_gy, vx_h, vx_sum = _gradient(vx, x, w, mean, s, ctx.eps)
        # A gradient with mean 0 and scale 1 sums the product of its arguments over every channel.
        zero, one = torch.zeros_like(mean), torch.ones_like(s)
        vx_gy = aten.native_batch_norm_backward(vx, gy, w, None, None, zero, one, True, ctx.eps, [False, True, True])[1]
        r_v, m_v, r_g, m_g = vx_h / n, vx_sum / n, gw / n, gb / n
        c = vx_gy / n - m_v * m_g - r_v * r_g
        by_gy = s * (vw - w * s * r_v)
        by_vx = -w * s * s * r_g
        by_h = -s * (vw * r_g + w * s * (c - 2 * r_v * r_g))
        of_x = _affine(x, by_h * s, -by_h * s * mean - by_gy * m_g - by_vx * m_v)
        of_x.addcmul_(gy, _like(by_gy, x)).addcmul_(vx, _like(by_vx, x))
        of_gy += _affine(x, vw * s, vb - vw * s * mean)
        return of_gy, of_x, n * s * c, *[None] * 5


def _gradient(gy: Tensor, x: Tensor, w: Tensor, mean: Tensor, s: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    wanted = [True, True, True]
    return aten.native_batch_norm_backward(gy, x, w, None, None, mean, s, True, eps, wanted)  # type: ignore[no-any-return]


def _kernel_for(x: Tensor) -> Callable[..., tuple[Tensor, Tensor, Tensor]] | None:
    is_dense = x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))
    is_served = x.is_cuda and is_dense and x.dtype.itemsize <= 4 and x.numel() < 2**31
    return _kernel(x.device) if is_served else None


@functools.cache
def _kernel(device: torch.device) -> Callable[..., tuple[Tensor, Tensor, Tensor]] | None:
    """The fused second derivatives, tried out once; None where they cannot be had."""
    try:
        from dabo_ray.bilevel.double_backward.batch_norm_kernels import second_derivatives

        image, channel = torch.ones(2, 2, 2, 2, device=device), torch.ones(2, device=device)
        second_derivatives(image, channel, channel, image, image, *[channel] * 5)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        warnings.warn(f"batch normalisation is differentiated without Triton, more slowly: {reason}", stacklevel=2)
        return None
    return second_derivatives


def _affine(x: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    return torch.addcmul(_like(shift, x), x, _like(factor, x))


def _like(numbers: Tensor, x: Tensor) -> Tensor:
    """A number per channel in the shape that meets x."""
    return numbers.view(-1, *[1] * (x.dim() - 2))
