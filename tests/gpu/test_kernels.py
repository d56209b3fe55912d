"""The compiled kernels of batch normalisation's second derivatives against the formulas in float64."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dabo_ray.bilevel.double_backward import batch_norm
from dabo_ray.bilevel.double_backward.batch_norm_kernels import second_derivatives

GPU = torch.device("cuda", 0)


@pytest.mark.parametrize("shape", [(128, 64, 32, 32), (128, 512, 4, 4), (16, 70, 7, 9), (64, 100)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_they_equal_the_formulas(shape, layout, dtype: torch.dtype, tolerance: float) -> None:
    if len(shape) == 2 and layout == torch.channels_last:
        pytest.skip("no places")
    generator = torch.Generator().manual_seed(0)
    x, gy, vx = (torch.randn(shape, generator=generator).to(GPU, dtype) for _ in range(3))
    x = (x + 2).contiguous(memory_format=layout)
    w, vw, vb = (torch.randn(shape[1], generator=generator).to(GPU) for _ in range(3))
    channels = x.float().transpose(0, 1).flatten(1)
    mean, scale = channels.mean(1), (channels.var(1, correction=0) + 1e-5).rsqrt()
    wide = [part.double().cpu() for part in (gy, x, w, mean, scale)]
    _, gw, gb = batch_norm._gradient(wide[0], wide[1], wide[2], wide[3], wide[4], 1e-5)
    saved: Any = SimpleNamespace(saved_tensors=(*wide, gw, gb), eps=1e-5)
    backward: Any = batch_norm._BatchNormGradient.backward
    expected = backward.__wrapped__(saved, *(part.double().cpu() for part in (vx, vw, vb)))[:3]
    found = second_derivatives(vx, vw, vb, gy, x, w, mean, scale, gw.to(GPU, torch.float32), gb.to(GPU, torch.float32))
    for ours, theirs in zip(found, expected, strict=True):
        assert float((ours.double().cpu() - theirs).norm() / theirs.norm()) < tolerance
