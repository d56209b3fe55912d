"""Stand-ins for derivatives: exact values, and their mean against true derivatives of expectations in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dabo_ray.augment import functional as F
from dabo_ray.augment.straight_through import (
    MAX_REMOVED_BITS,
    _covered,
    choose,
    equalize,
    erase,
    gate,
    posterize,
    solarize,
)

EVERY_CHANCE = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
"""An even grid: means over it are expectations, up to its step."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 4, channels: int = 3) -> Tensor:
    return torch.randint(0, 256, (count, channels, 8, 10), generator=seeded(1)) / 255


@pytest.mark.parametrize("probability", [0.003, 0.1, 0.5, 0.93])
def test_gates_open_as_often_as_they_should(probability) -> None:
    logits = torch.tensor(probability, dtype=torch.float64).logit()
    gates = gate(logits, EVERY_CHANCE)
    assert set(gates.unique().tolist()) <= {0.0, 1.0}
    assert float(gates.mean()) == pytest.approx(probability, abs=1e-4)
    assert gate(torch.tensor(6.0), torch.tensor(0.0)) == 0


LOSSES = {
    "linear": (lambda b: 3 * b + 1, 0.0),
    "quadratic": (lambda b: 2 * b.square() - b, 0.0),
    "steep quadratic": (lambda b: (b - 5).square(), 0.0),
    "cubic": (lambda b: b**3, 6.0),
    "exponential": (lambda b: (2 * b).exp(), 8 * math.e**2),
    "falling": (lambda b: -(b + 1).log(), 2.0),
}
"""A loss of a gate, and the largest third derivative in [0, 1]."""


@pytest.mark.parametrize("probability", [0.05, 0.5, 0.8])
@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_a_gate_on_average(name, probability) -> None:
    """d/dlogit of p f(1) + (1 - p) f(0) is p (1 - p) (f(1) - f(0))."""
    loss, third = LOSSES[name]
    logit = torch.tensor(probability, dtype=torch.float64).logit().requires_grad_()
    (found,) = torch.autograd.grad(loss(gate(logit.expand(len(EVERY_CHANCE)), EVERY_CHANCE)).mean(), logit)
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    weight = probability * (1 - probability)
    expected = float(weight * (loss(one) - loss(zero)))
    assert abs(float(found) - expected) <= weight * third / 12 + 1e-3 * abs(expected)
    assert float(found) * expected > 0


def test_the_bias_of_a_cubic_is_the_one_documented() -> None:
    """The trapezoid rule takes (0 + 3) / 2 for 1."""
    logit = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad((gate(logit.expand(len(EVERY_CHANCE)), EVERY_CHANCE) ** 3).mean(), logit)
    assert float(found) == pytest.approx(0.25 * 1.5, rel=1e-3)


def test_the_gradient_of_a_probability_points_to_the_better_image() -> None:
    """Loss |out - t|^2 with out = x or y: the derivative of its mean is p (1 - p) (|y - t|^2 - |x - t|^2)."""
    image, changed, other = (pictures(3).double()[index] for index in range(3))
    target = 0.7 * changed + 0.2 * image + 0.1 * other
    logit = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    chances = EVERY_CHANCE[1::4]
    out = choose(gate(logit.expand(len(chances)), chances), changed.expand(len(chances), 3, 8, 10), image)
    (found,) = torch.autograd.grad((out - target).square().sum((1, 2, 3)).mean(), logit)
    p = float(torch.sigmoid(logit.detach()))
    expected = p * (1 - p) * float((changed - target).square().sum() - (image - target).square().sum())
    assert float(found) == pytest.approx(expected, rel=5e-3)


def test_choosing_is_exact_and_passes_the_chosen_images_gradient() -> None:
    images, changed = pictures(4).requires_grad_(), pictures(4).flip(0).requires_grad_()
    gates = torch.tensor([0.0, 1.0, 1.0, 0.0])
    output = choose(gates, changed, images)
    assert torch.equal(output[[0, 3]], images[[0, 3]])
    assert torch.equal(output[[1, 2]], changed[[1, 2]])
    of_images, of_changed = torch.autograd.grad(output.sum(), (images, changed))
    assert of_images.amax((1, 2, 3)).tolist() == [1, 0, 0, 1]
    assert of_changed.amax((1, 2, 3)).tolist() == [0, 1, 1, 0]


def test_equalize_has_its_value_and_passes_gradients() -> None:
    images = pictures().requires_grad_()
    weights = torch.rand(images.shape, generator=seeded(4))
    torch.testing.assert_close(equalize(images), F.equalize(images), atol=1e-6, rtol=0)
    (found,) = torch.autograd.grad((equalize(images) * weights).sum(), images)
    assert torch.equal(found, weights)


@pytest.mark.parametrize("removed", range(MAX_REMOVED_BITS + 1))
def test_posterize_removes_whole_bits(removed) -> None:
    images = pictures()
    for off in (-0.4, 0.0, 0.4):
        strengths = torch.full((4,), (removed + off) / MAX_REMOVED_BITS)
        if 0 <= removed + off <= MAX_REMOVED_BITS:
            expected = F.posterize(images, torch.full((4,), 8 - removed))
            torch.testing.assert_close(posterize(images, strengths), expected, atol=1e-6, rtol=0)
    unrounded = torch.rand(4, 1, 3, 3, generator=seeded())
    assert torch.equal(posterize(unrounded, torch.zeros(4)), unrounded)


@pytest.mark.parametrize("removed", [0, 2, 5])
def test_the_gradient_of_posterize_on_average(removed) -> None:
    """Spread evenly over a bit, the mean of a function of it changes by its values at the ends."""
    image, weights = pictures(1).double(), torch.rand(1, 3, 8, 10, generator=seeded(4), dtype=torch.float64)
    places = (EVERY_CHANCE[::200] + removed) / MAX_REMOVED_BITS
    strengths = places.clone().requires_grad_()
    output = posterize(image.expand(len(places), 3, 8, 10), strengths)
    (found,) = torch.autograd.grad((output * weights).sum(), strengths)
    ends = [F.posterize(image, torch.tensor([8 - removed - more])) for more in (1, 0)]
    expected = float(((ends[0] - ends[1]) * weights).sum()) * MAX_REMOVED_BITS
    assert float(found.mean()) == pytest.approx(expected, rel=1e-4)
    assert expected != 0


def test_solarize_inverts_what_is_over_the_threshold() -> None:
    images = pictures()
    strengths = torch.tensor([0.0, 0.25, 0.5, 0.999])
    thresholds = (1 - strengths) * 256 / 255
    expected = torch.where(images >= thresholds[:, None, None, None], 1 - images, images)
    torch.testing.assert_close(solarize(images, strengths), expected, atol=1e-6, rtol=0)
    assert torch.equal(solarize(torch.ones(1, 1, 2, 2), torch.zeros(1)), torch.ones(1, 1, 2, 2))
    near = torch.autograd.grad(solarize(images.requires_grad_(), strengths).sum(), images)[0]
    assert set(near.unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("threshold", [0.25, 0.4, 0.65, 0.8])
def test_the_gradient_of_solarize_on_average(threshold) -> None:
    """With all levels alike the mean is an integral, whose derivative in the threshold t is -(1 - 2 t)."""
    levels = ((torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000).view(1, 1, 100, 100)
    strength = torch.tensor([1 - threshold * 255 / 256], dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(solarize(levels, strength).mean(), strength)
    assert float(found) == pytest.approx((1 - 2 * threshold) * 256 / 255, rel=0.1)


def test_covered_pixels_by_counting_points() -> None:
    """A hundred thousand points of a row, each in the interval or not."""
    lengths = torch.tensor([0.0, 0.3, 2.5, 5.0, 12.0], dtype=torch.float64)
    centres = torch.tensor([3.0, 3.9, 4.2, 0.5, 4.0], dtype=torch.float64)
    points = EVERY_CHANCE * 8
    inside = (points[None] - centres[:, None]).abs() < lengths[:, None] / 2
    expected = inside.double().view(5, 8, -1).mean(2)
    torch.testing.assert_close(_covered(8, lengths, centres), expected, atol=2e-3, rtol=0)


def test_erasing_blacks_out_a_rectangle_and_has_gradients() -> None:
    images = torch.ones(3, 1, 8, 4)
    strengths = torch.tensor([0.5, 0.5, 0.25])
    centres = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.0, 1.0]])
    output = erase(images, strengths, centres, torch.tensor([1.0, 0.0, 1.0]))
    expected = images.clone()
    expected[0, :, 2:6, 1:3] = 0
    expected[2, :, 7:, 0] = 0.5
    torch.testing.assert_close(output, expected)
    exact = [value.double().requires_grad_() for value in (images, strengths + 0.03, centres + 0.011)]
    gates = torch.tensor([1.0, 0.4, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(erase, (*exact, gates))
