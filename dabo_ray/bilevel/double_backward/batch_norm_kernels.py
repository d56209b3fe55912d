"""Kernels of batch normalisation's second derivatives for GPUs: two passes over memory in place of twenty.

The formulas and their notation are those of `batch_norm`, whose own code is the oracle. The module needs Triton, which
comes with torch for CUDA.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 2048
"""Numbers that a program holds at once."""

MOST_CHANNELS = 64
"""Channels that a program works on where they lie side by side."""

PROGRAMS = 1024
"""Programs that the sums are shared by, about eight for each multiprocessor of a large GPU."""


@triton.jit
def _sums(
    vx, x, gy, mean, scale, partial, rows, channels, inner, by_image, by_place, by_channel, rows_per_program,
    R: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Sums of vx, vx h and vx gy over a part of the rows, for some channels."""
    c = tl.program_id(0) * C + tl.arange(0, C)
    is_channel = c < channels
    m = tl.load(mean + c, mask=is_channel, other=0.0)
    s = tl.load(scale + c, mask=is_channel, other=0.0)
    of_v = tl.zeros((R, C), tl.float32)
    of_vh = tl.zeros((R, C), tl.float32)
    of_vg = tl.zeros((R, C), tl.float32)
    first = tl.program_id(1) * rows_per_program
    for start in range(0, rows_per_program, R):
        r = first + start + tl.arange(0, R)
        places = ((r // inner) * by_image + (r % inner) * by_place)[:, None] + (c * by_channel)[None, :]
        is_there = (r < rows)[:, None] & is_channel[None, :]
        v = tl.load(vx + places, mask=is_there, other=0.0).to(tl.float32)
        g = tl.load(gy + places, mask=is_there, other=0.0).to(tl.float32)
        h = (tl.load(x + places, mask=is_there, other=0.0).to(tl.float32) - m[None, :]) * s[None, :]
        of_v += v
        of_vh += v * h
        of_vg += v * g
    at = partial + tl.program_id(1) * channels + c
    by_sum = tl.num_programs(1) * channels
    tl.store(at, tl.sum(of_v, 0), mask=is_channel)
    tl.store(at + by_sum, tl.sum(of_vh, 0), mask=is_channel)
    tl.store(at + 2 * by_sum, tl.sum(of_vg, 0), mask=is_channel)


@triton.jit
def _derivatives(
    vx, x, gy, mean, scale, weight, sums, gw, gb, vw, vb, of_gy, of_x, of_weight, rows, channels, inner, by_image,
    by_place, by_channel, R: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """dS/dgy and dS/dx at some rows and channels, and dS/dw of the channels."""
    c = tl.program_id(0) * C + tl.arange(0, C)
    is_channel = c < channels
    s = tl.load(scale + c, mask=is_channel, other=0.0)
    ws = tl.load(weight + c, mask=is_channel, other=0.0).to(tl.float32) * s
    w_v = tl.load(vw + c, mask=is_channel, other=0.0).to(tl.float32)
    b_v = tl.load(vb + c, mask=is_channel, other=0.0).to(tl.float32)
    m_v = tl.load(sums + c, mask=is_channel, other=0.0) / rows
    r_v = tl.load(sums + channels + c, mask=is_channel, other=0.0) / rows
    m_g = tl.load(gb + c, mask=is_channel, other=0.0).to(tl.float32) / rows
    r_g = tl.load(gw + c, mask=is_channel, other=0.0).to(tl.float32) / rows
    covariance = tl.load(sums + 2 * channels + c, mask=is_channel, other=0.0) / rows - m_v * m_g - r_v * r_g
    by_gy = s * (w_v - ws * r_v)
    by_vx = -ws * s * r_g
    by_h = -s * (w_v * r_g + ws * (covariance - 2 * r_v * r_g))
    constant = -by_gy * m_g - by_vx * m_v
    if tl.program_id(1) == 0:
        tl.store(of_weight + c, rows * s * covariance, mask=is_channel)
    r = tl.program_id(1) * R + tl.arange(0, R)
    places = ((r // inner) * by_image + (r % inner) * by_place)[:, None] + (c * by_channel)[None, :]
    is_there = (r < rows)[:, None] & is_channel[None, :]
    v = tl.load(vx + places, mask=is_there, other=0.0).to(tl.float32)
    g = tl.load(gy + places, mask=is_there, other=0.0).to(tl.float32)
    m = tl.load(mean + c, mask=is_channel, other=0.0)
    h = (tl.load(x + places, mask=is_there, other=0.0).to(tl.float32) - m[None, :]) * s[None, :]
    for_gy = ws[None, :] * (v - m_v[None, :] - h * r_v[None, :]) + w_v[None, :] * h + b_v[None, :]
    for_x = by_gy[None, :] * g + by_vx[None, :] * v + by_h[None, :] * h + constant[None, :]
    tl.store(of_gy + places, for_gy.to(of_gy.dtype.element_ty), mask=is_there)
    tl.store(of_x + places, for_x.to(of_x.dtype.element_ty), mask=is_there)


def second_derivatives(
    vx: Tensor,
    vw: Tensor,
    vb: Tensor,
    gy: Tensor,
    x: Tensor,
    weight: Tensor,
    mean: Tensor,
    scale: Tensor,
    gw: Tensor,
    gb: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """dS/dgy, dS/dx and dS/dw of the module `batch_norm`, in the types of gy, x and the statistics.

    Args:
        vx: weights of gx in S, of the shape of x.
        vw: of gw, (C,).
        vb: of gb, (C,).
        gy: derivative with respect to the output, of the shape of x.
        x: (B, C, ...), contiguous or channels last, float32 or of half the width.
        weight: (C,).
        mean: of x, (C,), float32.
        scale: (variance + eps)^(-1/2), (C,), float32.
        gw: derivative with respect to the weight, (C,).
        gb: with respect to the bias, (C,).
    """
    channels = x.shape[1]
    rows, inner = x.numel() // channels, x.numel() // (x.shape[0] * channels)
    # Places of one image are evenly spaced in both layouts, by the last stride, or by C where channels lie together.
    by_image, by_channel = x.stride(0), x.stride(1)
    by_place = 1 if x.dim() == 2 else x.stride(-1)
    vx, gy = (part if part.stride() == x.stride() else torch.empty_like(x).copy_(part) for part in (vx, gy))
    width = min(MOST_CHANNELS, triton.next_power_of_2(channels)) if by_channel == 1 else 1
    height = TILE // width
    blocks = triton.cdiv(channels, width)
    tiles = triton.cdiv(rows, height)
    rows_per_program = height * triton.cdiv(tiles, max(1, PROGRAMS // blocks))
    programs = triton.cdiv(rows, rows_per_program)
    shape = (rows, channels, inner, by_image, by_place, by_channel)
    partial = torch.empty(3, programs, channels, dtype=torch.float32, device=x.device)
    _sums[blocks, programs](vx, x, gy, mean, scale, partial, *shape, rows_per_program, R=height, C=width)
    sums = partial.sum(1)
    of_gy, of_x, of_weight = torch.empty_like(gy), torch.empty_like(x), torch.empty_like(scale)
    inputs = (vx, x, gy, mean, scale, weight, sums, gw, gb, vw, vb)
    _derivatives[blocks, tiles](*inputs, of_gy, of_x, of_weight, *shape, R=height, C=width)
    return of_gy, of_x, of_weight
