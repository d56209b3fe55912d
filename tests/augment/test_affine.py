"""Affine augmenters: the exponential map, the centre, the spreads in the units of a person."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dabo_ray.augment.affine import GENERATORS, AffineAugmenter, AffineMatrixAugmenter, affine_map
from dabo_ray.augment.coordinates import INITIAL_SPREAD

MANY = 20_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(centred: bool = True) -> AffineAugmenter:
    """With weights as training might leave them."""
    made = AffineAugmenter(noise=7, hidden=16, centred=centred).double()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.5 * torch.randn(weight.shape, generator=seeded(3)))
    return made


def generator_matrix(rotation: float, scale: float, aspect: float, shear: float) -> list[list[float]]:
    return [[scale + aspect, shear - rotation], [shear + rotation, scale - aspect]]


def test_linear_part_is_the_exponential_of_the_generators() -> None:
    """Against torch.matrix_exp, up to the bounds of the coordinates."""
    coordinates = torch.rand(500, 6, generator=seeded(), dtype=torch.float64).mul(2 * math.pi).sub(math.pi)
    coordinates[0] = 0
    coordinates[1, :4] = torch.tensor([0.3, 0.0, 0.3, 0.0])  # a double eigenvalue
    matrices = torch.tensor([generator_matrix(*row[:4].tolist()) for row in coordinates], dtype=torch.float64)
    theta = affine_map(coordinates)
    torch.testing.assert_close(theta[:, :, :2], torch.matrix_exp(matrices), rtol=1e-9, atol=1e-9)
    assert torch.equal(theta[:, :, 2], coordinates[:, 4:])


def test_a_rotation_is_a_rotation_and_a_scale_a_scale() -> None:
    theta = affine_map(torch.tensor([[math.radians(30), 0, 0, 0, 0, 0], [0, math.log(1.5), 0, 0, 0.2, -0.1]]))
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    torch.testing.assert_close(theta[0], torch.tensor([[cos, -sin, 0], [sin, cos, 0]]))
    torch.testing.assert_close(theta[1], torch.tensor([[1.5, 0, 0.2], [0, 1.5, -0.1]]))


def test_opposite_noise_gives_the_inverse() -> None:
    made = shaken()
    (noise,) = made.draw(50, seeded())
    there, back = made.theta(noise.double()), made.theta(-noise.double())
    assert (there[:, :, :2] - torch.eye(2)).abs().max() > 0.2
    product = there[:, :, :2] @ back[:, :, :2]
    torch.testing.assert_close(product, torch.eye(2, dtype=torch.float64).expand(50, 2, 2), rtol=0, atol=1e-9)
    torch.testing.assert_close(there[:, :, 2], -back[:, :, 2])


def test_a_free_centre_is_somewhere_else() -> None:
    made = shaken(centred=False)
    assert made.coordinates(torch.zeros(1, 7, dtype=torch.float64)).abs().max() > 0.05


def test_spreads_before_learning_are_as_promised() -> None:
    made = AffineAugmenter()
    (noise,) = made.draw(50_000, seeded())
    spreads = made.coordinates(noise).std(0)
    torch.testing.assert_close(spreads, torch.full_like(spreads, INITIAL_SPREAD), rtol=0.02, atol=0)
    described = made.spread(noise)
    assert described["rotation_spread_deg"] == pytest.approx(math.degrees(INITIAL_SPREAD), rel=0.02)
    assert described["scale_spread_percent"] == pytest.approx(100 * INITIAL_SPREAD, rel=0.02)
    assert described["translation_spread_percent"] == pytest.approx(50 * INITIAL_SPREAD, rel=0.02)


@pytest.mark.parametrize("centred", [True, False])
def test_gradients(centred: bool) -> None:
    made = shaken(centred)
    images = torch.rand(3, 1, 5, 5, generator=seeded(), dtype=torch.float64).requires_grad_()
    (noise,) = made.draw(3, seeded(5))
    names = [name for name, _ in made.named_parameters()]

    def warped(pixels: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        values = dict(zip(names, weights, strict=True))
        images: torch.Tensor = torch.func.functional_call(made, values, (pixels, noise.double()))
        return images

    assert torch.autograd.gradcheck(warped, (images, *made.parameters()), atol=1e-4)


def test_gradients_where_the_map_is_the_identity() -> None:
    """The square root of zero has no derivative; the series has."""
    coordinates = torch.zeros(2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(affine_map, coordinates)


def test_extreme_weights_stay_finite() -> None:
    made = AffineAugmenter()
    with torch.no_grad():
        made.log_spread.fill_(20.0)
    (noise,) = made.draw(100, seeded())
    assert made.theta(noise).isfinite().all()
    assert made.coordinates(noise).abs().max() <= math.pi + 1e-6


def test_spreads_and_network_learn_apart() -> None:
    made = AffineAugmenter()
    spreads, network, others = made.groups(0.1)
    assert spreads["params"][0] is made.log_spread
    assert spreads["log_spread"] and spreads["prior"] > 0
    assert not others["params"]
    assert network["pooled"]
    assert network["lr"] < spreads["lr"] == 0.1
    assert len(spreads["params"]) + len(network["params"]) == len(list(made.parameters()))


def test_too_little_noise() -> None:
    with pytest.raises(ValueError, match=f"noise of {len(GENERATORS)} dimensions or more, got 5"):
        AffineAugmenter(noise=5)


class Known(AffineMatrixAugmenter):
    """An augmenter whose maps are given."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__(noise=6, hidden=4)
        self.given = maps

    def theta(self, draws: Tensor, context: Tensor | None = None) -> Tensor:
        return self.given

    def described(self) -> dict[str, float]:
        return self.spread(torch.zeros(len(self.given), 6))


def maps(linear: Tensor, offset: Tensor | None = None) -> Tensor:
    return torch.cat((linear, torch.zeros(len(linear), 2, 1) if offset is None else offset[:, :, None]), 2)


def turned(degrees: Tensor) -> Tensor:
    cos, sin = torch.deg2rad(degrees).cos(), torch.deg2rad(degrees).sin()
    return torch.stack((cos, -sin, sin, cos), 1).view(-1, 2, 2)


def uniform(low: float, high: float, seed: int = 0) -> Tensor:
    return torch.rand(MANY, generator=seeded(seed)) * (high - low) + low


@pytest.mark.parametrize("mean", [0.0, 90.0, 180.0])
@pytest.mark.parametrize("wide", [1.0, 45.0, 120.0, 179.0])
def test_spread_of_rotations(wide: float, mean: float) -> None:
    found = Known(maps(turned(mean + uniform(-wide, wide)))).described()
    assert found["rotation_spread_deg"] == pytest.approx(wide / math.sqrt(3), rel=0.02)
    assert found["scale_spread_percent"] == pytest.approx(0, abs=1e-3)
    assert found["shear_spread_deg"] == pytest.approx(0, abs=1e-3)
    assert found["translation_spread_percent"] == 0


def test_spread_of_scales() -> None:
    found = Known(maps(uniform(0.7, 1.3)[:, None, None] * turned(uniform(-30, 30, seed=1)))).described()
    assert found["scale_spread_percent"] == pytest.approx(30 / math.sqrt(3), rel=0.02)
    assert found["rotation_spread_deg"] == pytest.approx(30 / math.sqrt(3), rel=0.02)
    assert found["shear_spread_deg"] == pytest.approx(0, abs=1e-3)


def test_spread_of_translations() -> None:
    """A tenth of the side either way; coordinates run over 2, so that is 0.2."""
    offset = torch.stack((uniform(-0.2, 0.2), uniform(-0.2, 0.2, seed=1)), 1)
    found = Known(maps(torch.eye(2).expand(MANY, 2, 2), offset)).described()
    assert found["translation_spread_percent"] == pytest.approx(10 / math.sqrt(3), rel=0.02)
    assert found["rotation_spread_deg"] == 0


@pytest.mark.parametrize("turn", [0.0, 70.0])
def test_spread_of_shears(turn: float) -> None:
    """The angle by which the corner of a square differs from 90 degrees, turned or not."""
    angle = uniform(-20, 20)
    sheared = torch.eye(2).repeat(MANY, 1, 1)
    sheared[:, 0, 1] = torch.deg2rad(angle).tan()
    found = Known(maps(turned(torch.full((MANY,), turn)) @ sheared)).described()
    assert found["shear_spread_deg"] == pytest.approx(20 / math.sqrt(3), rel=0.02)
    assert found["scale_spread_percent"] == pytest.approx(0, abs=1e-3)


def test_no_spread_and_a_collapsed_map_are_finite() -> None:
    for linear in (torch.eye(2), torch.zeros(2, 2), torch.ones(2, 2)):
        found = Known(maps(linear.expand(10, 2, 2))).described()
        assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-9)
