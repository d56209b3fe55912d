"""The augmentation networks: the centre, gradients, capacity, and the distribution in the units of a person."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dabo_ray.augment.affine import AffineMatrixAugmenter
from dabo_ray.augment.frozen import FrozenAugmenter
from dabo_ray.augment.functional import affine_warp
from dabo_ray.data.sources import load

MANY = 20000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def augmenter(**settings) -> AffineMatrixAugmenter:
    torch.manual_seed(0)
    return AffineMatrixAugmenter(**{"noise": 6, "hidden": 16, **settings})


def shaken(made: AffineMatrixAugmenter) -> AffineMatrixAugmenter:
    """With weights as training might leave them, biases too."""
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.5 * torch.randn(weight.shape, generator=seeded(3)))
    return made


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_centre_is_the_identity_whatever_the_weights(depth: int) -> None:
    made = shaken(augmenter(depth=depth))
    (noise,) = made.draw(100, seeded())
    theta = made.theta(noise)
    identity = torch.eye(2, 3).expand(100, 2, 3)
    assert (theta - identity).abs().max() > 0.1
    torch.testing.assert_close((theta + made.theta(-noise)) / 2, identity, atol=1e-7, rtol=0)
    torch.testing.assert_close(made.theta(torch.zeros(1, 6)), identity[:1])


def test_a_free_centre_is_somewhere_else() -> None:
    made = shaken(augmenter(centred=False))
    (noise,) = made.draw(100, seeded())
    mean = (made.theta(noise) + made.theta(-noise)).mean(0) / 2
    assert (mean - torch.eye(2, 3)).abs().max() > 0.1


@pytest.mark.parametrize("centred", [True, False])
def test_raw_numbers_are_those_of_a_plain_perceptron(centred: bool) -> None:
    made = shaken(augmenter(centred=centred, depth=2))
    (noise,) = made.draw(5, seeded())

    def network(z: Tensor) -> Tensor:
        first, second, last = [layer for layer in made.network if isinstance(layer, torch.nn.Linear)]
        hidden = (z @ first.weight.T + first.bias).relu()
        hidden = (hidden @ second.weight.T + second.bias).relu()
        return hidden @ last.weight.T + last.bias

    expected = (network(noise) - network(-noise)) / 2 if centred else network(noise)
    torch.testing.assert_close(made.raw(noise), expected)


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({"noise": 6, "hidden": 32}, 6 * 32 + 32 + 32 * 6 + 6),
        ({"noise": 6, "hidden": 8, "depth": 2}, 6 * 8 + 8 + 8 * 8 + 8 + 8 * 6 + 6),
        ({"noise": 4, "hidden": 8, "depth": 0}, 4 * 6 + 6),
    ],
)
def test_capacity_follows_the_settings(settings: dict[str, int], weights: int) -> None:
    assert sum(weight.numel() for weight in augmenter(**settings).parameters()) == weights


def test_noise_fills_the_cube_evenly_and_repeats_with_its_seed() -> None:
    made = augmenter()
    (noise,) = made.draw(MANY, seeded())
    assert noise.shape == (MANY, 6)
    assert noise.abs().max() <= 1
    torch.testing.assert_close(noise.mean(0), torch.zeros(6), atol=0.02, rtol=0)
    torch.testing.assert_close(noise.var(0), torch.full((6,), 1 / 3), atol=0.02, rtol=0)
    assert torch.equal(noise, made.draw(MANY, seeded())[0])
    assert not torch.equal(noise, made.draw(MANY, seeded(1))[0])


def test_images_are_warped_each_by_its_own_row(tmp_path) -> None:
    made = shaken(augmenter())
    images = load("digits", tmp_path).labelled.images[:4].float() / 255
    (noise,) = made.draw(4, seeded())
    whole = made(images, noise)
    torch.testing.assert_close(whole, affine_warp(images, made.theta(noise)))
    alone = [made(images[row : row + 1], noise[row : row + 1]) for row in range(4)]
    torch.testing.assert_close(whole, torch.cat(alone))
    assert 0 <= float(whole.detach().min()) <= float(whole.detach().max()) <= 1


@pytest.mark.parametrize("centred", [True, False])
def test_gradients(centred: bool) -> None:
    made = augmenter(hidden=5, centred=centred).double()
    names = [name for name, _ in made.named_parameters()]
    (noise,) = made.draw(2, seeded())
    # A warp by bilinear pieces has no derivative at their borders; these draws keep clear of them.
    images = torch.rand(2, 2, 5, 4, dtype=torch.float64, generator=seeded(1)).requires_grad_()

    def warped(images: Tensor, *weights: Tensor):
        return torch.func.functional_call(made, dict(zip(names, weights, strict=True)), (images, noise.double()))

    weights = [weight.detach().clone().requires_grad_() for weight in made.parameters()]
    assert torch.autograd.gradcheck(warped, (images, *weights))


class Known(AffineMatrixAugmenter):
    """An augmenter whose maps are given."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__(noise=6, hidden=4)
        self.maps = maps

    def theta(self, draws: Tensor, context: Tensor | None = None) -> Tensor:
        return self.maps

    def described(self) -> dict[str, float]:
        return self.spread(torch.zeros(len(self.maps), 6))


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


def test_frozen_does_not_learn_and_does_what_the_augmenter_does() -> None:
    made = shaken(augmenter())
    images = torch.rand(4, 1, 6, 6, generator=seeded())
    (noise,) = made.draw(4, seeded(1))
    expected = made(images, noise).detach()
    before = [weight.detach().clone() for weight in made.parameters()]
    frozen = FrozenAugmenter(made)
    (draws,) = frozen.draw(4, seeded(1))
    assert torch.equal(draws, noise)
    output = frozen.apply(images, (draws,))
    assert torch.equal(output, expected)
    assert not output.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), before, strict=True))
    part = frozen.apply(images[1::2], (draws[1::2],))
    torch.testing.assert_close(part, expected[1::2])
    assert torch.equal(frozen(images, seeded(1)), expected)
