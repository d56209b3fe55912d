"""Colour jitter, with torchvision as the oracle."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest
from torchvision.transforms import v2

from dabo_ray.augment.color_jitter import ColorJitter


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "settings",
    [{}, {"hue": 0.5}, {"brightness": 0.0, "saturation": 2.0}, {"brightness": 0.0, "contrast": 0.0, "hue": 0.1}],
)
def test_equals_torchvision_on_the_same_draws(noise, settings: dict, channels: int) -> None:
    augment, theirs = ColorJitter(**settings), v2.ColorJitter(0.1, 0.1, 0.1, 0.1)
    images = noise(100, channels, 9, 11) / 255
    values, orders = params = augment.draw(100, seeded())
    output = augment.apply(images, params)
    names = ("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor")
    for index, image in enumerate(images):
        given = {"fn_idx": orders[index], **dict(zip(names, values[index].tolist(), strict=True))}
        torch.testing.assert_close(output[index], theirs.transform(image, given), atol=2e-5, rtol=0)


def test_draws(occur_as) -> None:
    settings = {"brightness": 0.3, "contrast": 2.0, "saturation": 0.5, "hue": 0.2}
    values, orders = ColorJitter(**settings).draw(5000, seeded())
    theirs = v2.ColorJitter(**settings)
    for column, name in enumerate(settings):
        low, high = getattr(theirs, name)
        assert kstest(values[:, column].numpy(), "uniform", (low, high - low)).pvalue > 1e-3
    # The 24 orders as numbers.
    weights = torch.tensor([64, 16, 4, 1])
    kinds = (orders * weights).sum(1).unique(return_inverse=True)[1]
    assert occur_as(kinds, torch.ones(24))


def test_without_ranges_images_stay_as_they_are(noise) -> None:
    images = noise(8, 3, 4, 4) / 255
    assert torch.equal(ColorJitter(brightness=0, contrast=0, saturation=0)(images, seeded()), images)
