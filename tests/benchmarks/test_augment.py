"""The augmentation benchmark on a few images."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dabo_ray.benchmarks import augment
from dabo_ray.benchmarks.measure import BenchmarkOptions


def test_runs_on_a_few_images():
    result = augment.run(BenchmarkOptions(torch.device("cpu"), repeats=1, threads=1), batch=6)
    cases = [row.name for row in result.rows]
    ours = [case for case in cases if ", kornia" not in case]
    names = [f"{name}{of}" for name in augment.PAIRS for of in (", torchvision", "", ", torchvision, one draw a batch")]
    assert ours == names
    assert [case for case in cases if case not in ours] == [
        *(f"{name}, kornia" for name in ("flip_crop", "affine", "color_jitter", "random_erasing")),
        *(f"{name}, kornia, one draw a batch" for name in ("autoaugment", "randaugment", "trivialaugment")),
    ]
    assert all(row.value > 0 and row.unit == "per_second" for row in result.rows)
    (budget,) = result.budgets
    assert budget.at_least
    assert budget.measured == next(row.ratio for row in result.rows if row.name == "trivialaugment")


def test_a_loader_transforms_image_by_image(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(augment, "PROCESSES", 1)
    levels = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    loader = augment._loader(levels, lambda image: image + 1)
    batches = list(loader)
    assert len(batches) == augment.CALLS
    assert all(torch.equal(batch, levels + 1) for batch in batches)


def images(num_images: int) -> torch.Tensor:
    """A picture, so many times."""
    one = torch.rand(1, 3, augment.SIDE, augment.SIDE, generator=torch.Generator().manual_seed(0))
    return one.repeat(num_images, 1, 1, 1)


@pytest.mark.parametrize("name", ["flip_crop", "affine", "color_jitter", "random_erasing"])
def test_kornia_does_the_same_work(name: str):
    """A batch as ours gives it, with a draw for each image."""
    kornia = augment.kornia_of(name)
    assert kornia is not None
    torch.manual_seed(0)
    output = kornia(images(64))
    assert (output.shape, output.dtype) == ((64, 3, augment.SIDE, augment.SIDE), torch.float32)
    assert float(output.min()) >= 0 and float(output.max()) <= 1
    assert len({tuple(image.flatten().tolist()) for image in output}) > 25


@pytest.mark.parametrize("name", augment.DRAWN_PER_BATCH)
def test_kornia_draws_the_operations_of_a_policy_once(name: str):
    """What the rows say: the operations that a call has done are those of one draw."""
    kornia: Any = augment.kornia_of(name)
    torch.manual_seed(0)
    per_call = []
    for _ in range(20):
        assert kornia(images(64)).shape == (64, 3, augment.SIDE, augment.SIDE)
        per_call.append(tuple(param.name for param in kornia._params))
    assert {len(names) for names in per_call} == {2 if name == "randaugment" else 1}
    assert len(set(per_call)) > 5
