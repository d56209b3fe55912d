"""Pictures for augmentations, and how draws are judged."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy.stats import chisquare
from sklearn.datasets import load_digits
from torch import Tensor


def noise(num_images: int, channels: int, height: int, width: int) -> Tensor:
    """Levels without any structure."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (num_images, channels, height, width), dtype=torch.uint8, generator=generator)


def digits(num_images: int, height: int, width: int) -> Tensor:
    """Levels of smooth pictures with flat backgrounds."""
    images = torch.from_numpy(load_digits().images[:num_images, None]).float() * 15.9
    return torch.nn.functional.interpolate(images, (height, width), mode="bilinear").to(torch.uint8)


def occur_as(draws: Tensor, shares: Tensor) -> bool:
    """Whether whole numbers 0, 1, ... occur with these shares, by a chi-squared test that errs once in a thousand."""
    counts = draws.flatten().bincount(minlength=len(shares)).double()
    assert counts[shares == 0].sum() == 0
    expected = shares[shares > 0].double()
    expected = expected / expected.sum() * counts.sum()
    return bool(chisquare(counts[shares > 0].numpy(), expected.numpy()).pvalue > 1e-3)


@pytest.fixture(name="noise")
def _noise() -> Callable[..., Tensor]:
    return noise


@pytest.fixture(name="digits")
def _digits() -> Callable[..., Tensor]:
    return digits


@pytest.fixture(name="occur_as")
def _occur_as() -> Callable[[Tensor, Tensor], bool]:
    return occur_as
