"""The fused kernels of batch normalisation's second derivatives, interpreted on the CPU, against the formulas."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

SCRIPT = """
import torch
from dabo_ray.bilevel.double_backward import batch_norm
from dabo_ray.bilevel.double_backward.batch_norm_kernels import second_derivatives

generator = torch.Generator().manual_seed(0)
draw = lambda *shape: torch.randn(*shape, generator=generator)
cases = [
    ((4, 6, 5, 5), torch.contiguous_format),
    ((4, 6, 5, 5), torch.channels_last),
    ((3, 70, 2, 2), torch.channels_last),
    ((9, 3, 16, 16), torch.contiguous_format),
    ((7, 5), torch.contiguous_format),
]
for shape, layout in cases:
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 1e-2)):
        x, gy, vx = (part.to(dtype) for part in (draw(*shape) + 3, draw(*shape), draw(*shape)))
        x = x.contiguous(memory_format=layout)
        w, vw, vb = (draw(shape[1]) for _ in range(3))
        of_channel = x.float().transpose(0, 1).flatten(1)
        mean, scale = of_channel.mean(1), (of_channel.var(1, correction=0) + 1e-5).rsqrt()
        _, gw, gb = batch_norm._gradient(gy.float(), x.float(), w, mean, scale, 1e-5)
        class ctx:
            saved_tensors, eps = (gy, x, w, mean, scale, gw, gb), 1e-5
        theirs = batch_norm._BatchNormGradient.backward.__wrapped__(ctx, vx, vw, vb)[:3]
        ours = second_derivatives(vx, vw, vb, gy, x, w, mean, scale, gw, gb)
        assert [part.dtype for part in ours] == [dtype, dtype, torch.float32]
        assert ours[1].stride() == x.stride()
        for a, b in zip(ours, theirs):
            error = (a.double() - b.double()).norm() / b.double().norm()
            assert error < tolerance, (shape, layout, dtype, float(error))
print("compared", len(cases))
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="torch came without Triton")
def test_they_equal_the_formulas_in_every_layout() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "compared 5\n", done.stderr
