"""A learned transform image by image, as a DataLoader calls it, against torchvision's `RandomAffine`.

Both blend pixels (bilinear), ours always; that torchvision's default reads the nearest pixel is a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import PIL.Image
import torch
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as tv

from dabo_ray.augment.affine import AffineAugmenter
from dabo_ray.augment.transform import LearnedTransform
from dabo_ray.benchmarks.measure import (
    BenchmarkOptions,
    BenchmarkResult,
    PerformanceBudget,
    Row,
    rows_of,
    time_side_by_side,
)

SIDES = (32, 224)
CALLS = 200
"""Of a case in each round."""

MOST_TIMES = 2.0
"""Of RandomAffine's time."""


def run(options: BenchmarkOptions, calls: int = CALLS) -> BenchmarkResult:
    """Images per second, of PIL and of uint8 tensors, small and large."""
    learned = LearnedTransform(AffineAugmenter())
    ranges: dict[str, Any] = {"degrees": 10, "translate": (0.1, 0.1), "scale": (0.9, 1.1), "shear": 5}
    blended = v2.RandomAffine(**ranges, interpolation=InterpolationMode.BILINEAR)
    rows: list[Row] = []
    budgets = []
    for side in SIDES:
        levels = torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        for kind, image in (("PIL", tv.to_pil_image(levels)), ("tensor", levels.to(options.device))):
            basis, ours = f"{kind} {side} px, RandomAffine", f"{kind} {side} px, learned affine"
            cases = {basis: blended, ours: learned, f"{basis}, nearest": v2.RandomAffine(**ranges)}
            repeated = {name: partial(_repeat, transform, image, calls) for name, transform in cases.items()}
            samples = time_side_by_side(repeated, options)
            per_second = {name: [calls / seconds for seconds in times] for name, times in samples.items()}
            of_kind = rows_of(per_second, basis, "per_second")
            times = 1 / next(row.ratio for row in of_kind if row.name == ours)
            budgets.append(PerformanceBudget(f"time of {ours} over RandomAffine's", times, MOST_TIMES))
            rows += of_kind
    return BenchmarkResult("transform", rows, budgets)


def _repeat(transform: Callable[[PIL.Image.Image | torch.Tensor], object], image: Any, calls: int) -> None:
    for _ in range(calls):
        transform(image)
