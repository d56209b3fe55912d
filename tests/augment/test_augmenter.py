"""Augmenters: the centre, gradients, capacity, options, and what a distribution is conditioned on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dabo_ray.augment.affine import AffineAugmenter, AffineMatrixAugmenter
from dabo_ray.augment.functional import affine_warp
from dabo_ray.augment.registry import AUGMENTERS
from dabo_ray.data.sources import load


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
    (noise,) = made.draw(20_000, seeded())
    assert noise.shape == (20_000, 6)
    assert noise.abs().max() <= 1
    torch.testing.assert_close(noise.mean(0), torch.zeros(6), atol=0.02, rtol=0)
    torch.testing.assert_close(noise.var(0), torch.full((6,), 1 / 3), atol=0.02, rtol=0)
    assert torch.equal(noise, made.draw(20_000, seeded())[0])
    assert not torch.equal(noise, made.draw(20_000, seeded(1))[0])


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operations": ["rotation", "rotation"]}, "each once"),
        ({"operations": []}, "name some"),
        ({"operations": ["hue"]}, r"\['hue'\].*rotation, scale"),
        ({"hidden": [6, 60], "depth": 1}, "leave depth out"),
        ({"hidden": [6, 0]}, "at least one unit"),
        ({"dropout": 1.0}, r"\[0, 1\)"),
        ({"conditioning": "class"}, "num_classes"),
        ({"conditioning": "label"}, "none, class, image"),
        ({"noise": 5}, "6 dimensions or more, got 5"),
    ],
)
def test_options_that_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        AUGMENTERS["affine"](**options)


def test_dropout_leaves_out_its_part_of_the_units_and_keeps_the_mean() -> None:
    augmenter = AUGMENTERS["affine_matrix"](noise=6, hidden=[50, 30], dropout=0.25, centred=False)
    (draws,) = augmenter.draw(2000, seeded())
    first, second = augmenter._dropout_masks(draws)
    assert (first.shape, second.shape) == ((2000, 50), (2000, 30))
    for mask in (first, second):
        torch.testing.assert_close(mask.unique(), torch.tensor([0, 4 / 3]))
        assert float((mask == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    into, between, last = [layer for layer in augmenter.network if isinstance(layer, torch.nn.Linear)]
    hidden = (draws[:, :6] @ into.weight.T + into.bias).relu() * first
    hidden = (hidden @ between.weight.T + between.bias).relu() * second
    expected = hidden @ last.weight.T + last.bias
    torch.testing.assert_close(augmenter.raw(draws), expected)


def test_the_class_sets_the_spread() -> None:
    augmenter = AffineAugmenter(conditioning="class", num_classes=2)
    with torch.no_grad():
        augmenter.class_log_spread[1, 0] = 1.0
    (draws,) = augmenter.draw(5000, seeded())
    spreads = [
        augmenter.coordinates(draws, *augmenter.context(torch.zeros(5000, 1, 4, 4), torch.full((5000,), label))).std(0)
        for label in (0, 1)
    ]
    ratio = spreads[1] / spreads[0]
    torch.testing.assert_close(ratio, torch.tensor([torch.e, 1, 1, 1, 1, 1]), rtol=0.02, atol=0)
    with pytest.raises(ValueError, match="labels"):
        augmenter.context(torch.zeros(1, 1, 4, 4), None)


def test_the_image_is_seen_averaged() -> None:
    augmenter = AUGMENTERS["affine"](conditioning="image")
    images = torch.rand(2, 3, 8, 8, generator=seeded(1))
    (context,) = augmenter.context(images, None)
    parts = images.view(2, 3, 4, 2, 4, 2).mean((3, 5))
    torch.testing.assert_close(context, parts.flatten(1) - 0.5)
    (grey,) = augmenter.context(images[:, :1], None)
    assert torch.equal(grey[:, :16], grey[:, 16:32])
