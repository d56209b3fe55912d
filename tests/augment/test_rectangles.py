"""Learned geometry on images of any shape, measured from pictures: three blobs, one in each channel, show the map."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dabo_ray.augment import functional as F
from dabo_ray.augment.affine import AffineMatrixAugmenter
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.description import describe
from dabo_ray.augment.policy import PolicyAugmenter
from dabo_ray.augment.registry import AUGMENTERS
from dabo_ray.augment.transform import LearnedTransform

SIZES = [(300, 300), (300, 500), (500, 300), (33, 99)]
PLACES = np.array([[0.0, 0.0], [0.2, 0.0], [0.0, 0.2]])
"""Centres of the blobs, (x, y) from the centre of the image in shares of the shorter side."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learned(name: str, operations: list[str], spread: float) -> Augmenter:
    made: Any = AUGMENTERS[name](operations=operations)
    with torch.no_grad():
        made.log_spread.fill_(math.log(spread))
        if isinstance(made, PolicyAugmenter):
            made.logit.fill_(100.0)
    learned: Augmenter = made
    return learned


def pixels(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Places (x, y) of every pixel from the centre of the image."""
    return np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)


def blobs(height: int, width: int) -> Tensor:
    x, y = pixels(height, width)
    side = min(height, width)
    sigma = 0.04 * side
    squares = [(x - side * at_x) ** 2 + (y - side * at_y) ** 2 for at_x, at_y in PLACES]
    return torch.tensor(np.exp(-np.stack(squares) / (2 * sigma**2)), dtype=torch.float64)


def centroids(image: np.ndarray) -> np.ndarray:
    """Centre of mass, (x, y) in pixels from the centre of the image, of each channel."""
    x, y = pixels(*image.shape[1:])
    mass = image.sum((1, 2))
    return np.stack([(image * x).sum((1, 2)) / mass, (image * y).sum((1, 2)) / mass], 1)


def moved(image: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Where the picture's pixels have gone: a matrix and an offset, in pixels, by the three centroids alone."""
    side = min(image.shape[1:])
    found = centroids(image.detach().numpy())
    linear = (found[1:] - found[0]).T @ np.linalg.inv((PLACES[1:] - PLACES[0]).T * side)
    return linear, found[0]


def turned_by(linear: np.ndarray) -> float:
    """Degrees counter-clockwise of the rotation nearest to a matrix of pixels, y down."""
    u, _, v = np.linalg.svd(linear)
    rotation = u @ v
    return math.degrees(math.atan2(rotation[0, 1], rotation[0, 0]))


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("name", ["affine", "affine_color", "policy"])
def test_angles_of_pictures_are_those_described(name, height, width) -> None:
    made = learned(name, ["rotation"], 0.5).double()
    picture = blobs(height, width)
    num_draws = 60
    (draws,) = made.draw(num_draws, seeded())
    draws = draws.double()
    images = picture.expand(num_draws, -1, -1, -1)
    measured = np.array(
        [turned_by(moved(made(image[None], row[None])[0])[0]) for image, row in zip(images, draws, strict=True)]
    )
    told = made.samples(draws)["rotation_deg"].numpy()
    (words,) = re.findall(r"rotation +spread ([\d.]+) degrees", describe(made))
    spread = float(words)
    assert np.abs(measured - told).max() < 0.02 * spread
    assert told.std() == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_scale_aspect_and_shear_are_those_of_pixels(height, width) -> None:
    """Against the definitions, by numpy's singular values and angles of the measured matrix."""
    made = learned("affine", ["scale", "aspect", "shear"], 0.15).double()
    (draws,) = made.draw(30, seeded())
    told = {name: values.numpy() for name, values in made.samples(draws.double()).items()}
    images = made(blobs(height, width).expand(30, -1, -1, -1), draws.double()).detach()
    linear = np.stack([moved(image)[0] for image in images])
    assert np.sqrt(np.linalg.det(linear)) == pytest.approx(told["scale_factor"], rel=0.01)
    # Of the picture's inverse, as the map reads: how lengths along x and y change, and the angle between them.
    reads = np.linalg.inv(linear)
    along_x, along_y = np.moveaxis(reads, 2, 0)
    lengths = [np.linalg.norm(side, axis=1) for side in (along_x, along_y)]
    assert np.sqrt(lengths[0] / lengths[1]) == pytest.approx(told["aspect_factor"], rel=0.01)
    shears = np.degrees(np.arcsin((along_x * along_y).sum(1) / (lengths[0] * lengths[1])))
    assert shears == pytest.approx(told["shear_deg"], abs=0.02 * told["shear_deg"].std() + 0.1)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_translations_are_shares_of_each_side(height, width) -> None:
    made = learned("affine", ["translation"], 0.1).double()
    (draws,) = made.draw(30, seeded())
    told = made.samples(draws.double())
    images = made(blobs(height, width).expand(30, -1, -1, -1), draws.double()).detach()
    offsets = np.stack([moved(image)[1] for image in images])
    shares = 100 * offsets / np.array([width, height])
    assert shares[:, 0] == pytest.approx(told["translation_x_percent"].numpy(), abs=0.1)
    assert shares[:, 1] == pytest.approx(told["translation_y_percent"].numpy(), abs=0.1)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_published_matrix_acts_on_pixels(height, width) -> None:
    made = AffineMatrixAugmenter().double()
    (draws,) = made.draw(20, seeded(1))
    draws = 0.5 * draws.double()
    theta = made.theta(draws).detach().numpy()
    images = made(blobs(height, width).expand(20, -1, -1, -1), draws).detach()
    for image, expected in zip(images, theta, strict=True):
        linear, offset = moved(image)
        np.testing.assert_allclose(np.linalg.inv(linear), expected[:, :2], atol=0.02)
        np.testing.assert_allclose(
            -np.linalg.inv(linear) @ offset,
            expected[:, 2] * np.array([width, height]) / 2,
            atol=0.01 * max(height, width),
        )


def test_square_images_are_as_they_were() -> None:
    maps = torch.rand(5, 2, 3, generator=seeded())
    images = torch.rand(5, 3, 12, 12, generator=seeded(1))
    assert torch.equal(F.warp(images, maps), F.affine_warp(images, maps))


def test_the_exported_transform_turns_rectangles() -> None:
    transform = LearnedTransform(learned("affine", ["rotation"], 0.5))
    torch.manual_seed(2)
    output = transform(blobs(300, 500).float())
    torch.manual_seed(2)
    square = transform(blobs(300, 300).float())
    angles = [turned_by(moved(image)[0]) for image in (output, square)]
    assert abs(angles[0]) > 5
    assert angles[0] == pytest.approx(angles[1], rel=0.02)
