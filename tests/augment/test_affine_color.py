"""Learned colours: torchvision in every order as the oracle, gradients, and the distribution in human units."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from dabo_ray.augment.affine import AffineAugmenter
from dabo_ray.augment.affine_color import (
    NUM_KEYS,
    AffineColorAugmenter,
    AffineColorMatrixAugmenter,
    Tones,
    adjust_tones,
    tones_of,
)
from dabo_ray.augment.coordinates import INITIAL_SPREAD

REFERENCES = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, 7, 9, generator=seeded(1))


def all_orders() -> Tensor:
    """Keys that give each of the 24 orders."""
    return torch.cartesian_prod(*(torch.arange(4.0),) * 4)[
        [len(set(row)) == 4 for row in torch.cartesian_prod(*(torch.arange(4),) * 4).tolist()]
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_order_equals_torchvision(channels) -> None:
    keys = all_orders()
    assert len(keys) == 24
    images = pictures(24, channels)
    factors = torch.rand(24, 3, generator=seeded(2)) * 1.8 + 0.1
    turns = torch.rand(24, generator=seeded(3)) - 0.5
    output = adjust_tones(images, Tones(factors, turns), keys)
    for row in range(24):
        expected = images[row]
        for which in keys[row].argsort().tolist():
            expected = REFERENCES[which](expected, float(torch.cat((factors[row], turns[row : row + 1]))[which]))
        torch.testing.assert_close(output[row], expected, atol=5e-6, rtol=0)
    if channels == 3:
        shuffled = adjust_tones(images, Tones(factors, turns), keys.flip(0))
        assert (output - shuffled).flatten(1).abs().amax(1).gt(1e-3).float().mean() > 0.9


def test_neutral_tones_leave_images_as_they_are() -> None:
    keys = all_orders()
    for channels in (1, 3):
        images = pictures(24, channels)
        output = adjust_tones(images, Tones(torch.ones(24, 3), torch.zeros(24)), keys)
        torch.testing.assert_close(output, images, atol=1e-6, rtol=0)


def test_grey_images_have_neither_saturation_nor_hue() -> None:
    images = pictures(24, 1)
    tones = Tones(torch.tensor([[1.0, 1.0, 0.2]]).repeat(24, 1), torch.full((24,), 0.3))
    assert torch.equal(adjust_tones(images, tones, all_orders()), images)


def test_gradients() -> None:
    images = (pictures(24).double()[:, :, :3, :4] * 0.3 + 0.3).requires_grad_()
    factors = (torch.rand(24, 3, generator=seeded(2), dtype=torch.float64) * 0.2 + 0.9).requires_grad_()
    turns = (torch.rand(24, generator=seeded(3), dtype=torch.float64) * 0.1).requires_grad_()

    def adjusted(pixels: Tensor, factors: Tensor, turns: Tensor) -> Tensor:
        return adjust_tones(pixels, Tones(factors, turns), all_orders())

    assert torch.autograd.gradcheck(adjusted, (images, factors, turns), fast_mode=True)


def test_coordinates_are_logarithms_and_an_angle() -> None:
    tones = tones_of(torch.tensor([[math.log(2), -math.log(2), 0, math.pi], [0, 0, 0, -math.pi / 2]]))
    torch.testing.assert_close(tones.factors, torch.tensor([[2, 0.5, 1], [1, 1, 1]]))
    torch.testing.assert_close(tones.turns, torch.tensor([0.5, -0.25]))


def test_orders_are_drawn_evenly() -> None:
    augmenter = AffineColorAugmenter()
    (draws,) = augmenter.draw(24_000, seeded())
    orders = draws[:, -NUM_KEYS:].argsort(1)
    _, counts = orders.unique(dim=0, return_counts=True)
    assert len(counts) == 24
    assert ((counts - 1000) ** 2 / 1000).sum() < 49.7, "99.9 % quantile of chi-squared with 23 degrees of freedom"


def test_tones_come_before_the_warp_and_leave_the_outside_black() -> None:
    augmenter = AffineColorAugmenter()
    with torch.no_grad():
        augmenter.log_spread.fill_(0.0)
    images = torch.ones(50, 3, 8, 8)
    (draws,) = augmenter.draw(50, seeded())
    theta, tones = augmenter.parts(draws)
    expected = torch.nn.functional.grid_sample(
        adjust_tones(images, tones, draws[:, -NUM_KEYS:]),
        torch.nn.functional.affine_grid(theta, [50, 3, 8, 8], align_corners=False),
        align_corners=False,
    )
    output = augmenter(images, draws)
    torch.testing.assert_close(output, expected, atol=2e-5, rtol=0)
    assert (output.amin((1, 2, 3)) == 0).any()


@pytest.mark.parametrize("kind", [AffineColorAugmenter, AffineColorMatrixAugmenter])
def test_spreads_in_human_units(kind) -> None:
    augmenter = kind()
    (draws,) = augmenter.draw(20_000, seeded())
    theta, tones = augmenter.parts(draws)
    theta = theta.detach()
    spread = augmenter.spread(draws)
    assert spread["brightness_spread_percent"] == pytest.approx(
        100 * float(tones.factors[:, 0].detach().std()), rel=1e-3
    )
    assert spread["hue_spread_deg"] == pytest.approx(360 * float(tones.turns.detach().std()), rel=1e-3)
    assert spread["rotation_spread_deg"] == pytest.approx(
        float(torch.atan2(theta[:, 1, 0] - theta[:, 0, 1], theta[:, 0, 0] + theta[:, 1, 1]).rad2deg().std()), rel=1e-2
    )
    if kind is AffineColorAugmenter:
        assert spread["saturation_spread_percent"] == pytest.approx(100 * INITIAL_SPREAD, rel=0.03)
        assert spread["hue_spread_deg"] == pytest.approx(math.degrees(INITIAL_SPREAD), rel=0.03)


def test_colours_alone_do_not_resample() -> None:
    augmenter = AffineColorAugmenter(operations=["brightness"])
    images = pictures(4)
    (draws,) = augmenter.draw(4, seeded())
    _, tones = augmenter.parts(draws)
    torch.testing.assert_close(augmenter(images, draws), (images * tones.factors[:, :1, None, None]).clamp(0, 1))


def test_the_map_of_coordinates_is_that_of_affine() -> None:
    color, affine = AffineColorAugmenter(), AffineAugmenter()
    (draws,) = color.draw(10, seeded())
    torch.testing.assert_close(color.parts(draws)[0], affine.theta(draws[:, :6]))
