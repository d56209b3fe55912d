"""No step waits for the GPU, whatever the augmentation."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from dabo_ray.benchmarks.launches import count_waits
from dabo_ray.benchmarks.subjects import AMORTISED, Size, bilevel_training

GPU = torch.device("cuda", 0)
SMALL = Size("resnet18", (3, 32, 32), 8)
BY_HAND = (
    *("none", "flip", "crop", "flip_crop", "affine", "color_jitter", "cutout", "random_erasing", "autoaugment"),
    *("randaugment", "trivialaugment", "augmix", "mixup", "cutmix", "random_augmenter"),
)


@pytest.mark.parametrize("method", BY_HAND)
def test_a_baseline_does_not_wait(method: str) -> None:
    run = bilevel_training(SMALL, AMORTISED, GPU, method=method)
    for number in range(6):
        run.step(number)
    assert count_waits(lambda: [run.step(number) for number in range(6, 12)]) == 0


@pytest.mark.parametrize("base", ["flip", "flip_crop"])
def test_a_learned_step_does_not_wait(base: Literal["flip", "flip_crop"]) -> None:
    run = bilevel_training(SMALL, AMORTISED, GPU, base=(base,))
    assert run.learner is not None
    steps = 6 * run.learner.inner_steps
    for number in range(steps):
        run.step(number)
    assert count_waits(lambda: [run.step(number) for number in range(steps, 2 * steps)]) == 0
