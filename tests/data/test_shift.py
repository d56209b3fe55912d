"""The known shift: drawn uniformly, applied as torchvision does, and nothing at zero."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv
from torchvision.transforms.v2.functional import InterpolationMode

from dabo_ray.augment.affine import affine_samples
from dabo_ray.config import schema
from dabo_ray.data.images import Images
from dabo_ray.data.shift import Shift, shifted

# Kolmogorov and Smirnov: 2000 uniform draws pass with a chance of 0.997.
QUANTILE_ERROR = 2 * 1.8 / math.sqrt(2000)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def copies(image: Tensor, num: int) -> Images:
    return Images(image.expand(num, *image.shape).clone(), torch.arange(num) % 7)


def spot(row: int, column: int, side: int = 65) -> Tensor:
    image = torch.zeros(1, side, side, dtype=torch.uint8)
    image[0, row - 2 : row + 3, column - 2 : column + 3] = 255
    return image


def centres(images: Tensor) -> Tensor:
    """Centre of mass of each image as (x, y) in pixels from the middle."""
    weights = images[:, 0].double()
    y, x = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2 for side in images.shape[-2:])
    total = weights.sum((1, 2))
    return torch.stack([(weights.sum(1) * x).sum(1) / total, (weights.sum(2) * y).sum(1) / total], 1)


def quantile_error(drawn: Tensor, bound: float) -> float:
    """Largest distance between the ordered draws and the quantiles of U(-bound, bound), as part of the bound."""
    quantiles = (2 * torch.arange(1, len(drawn) + 1) / (len(drawn) + 1) - 1) * bound
    return float((drawn.sort().values - quantiles).abs().max() / bound)


def test_angles_are_uniform():
    """A spot right of the middle tells its angle."""
    x, y = centres(shifted(copies(spot(32, 52), 2000), Shift(rotation=60), seeded()).images).unbind(1)
    assert torch.allclose(torch.hypot(x, y), torch.tensor(20.0, dtype=torch.float64), atol=0.3)
    assert quantile_error(torch.rad2deg(torch.atan2(y, x)), 60) < QUANTILE_ERROR


def test_moves_are_uniform_and_apart():
    moves = centres(shifted(copies(spot(32, 32), 2000), Shift(translation=0.25), seeded()).images) / 65
    for along in moves.unbind(1):
        assert quantile_error(along, 0.25) < QUANTILE_ERROR
    assert abs(float(torch.corrcoef(moves.T)[0, 1])) < 0.08


def test_against_torchvision():
    """The angle is read off one image and given to torchvision's rotate for another that is turned with it."""
    scene = torch.randint(0, 256, (3, 33, 33), dtype=torch.uint8, generator=seeded(1))
    # The same generator draws the same angle, whatever the image.
    x, y = centres(shifted(copies(spot(32, 52), 6), Shift(rotation=40), seeded()).images).unbind(1)
    angles = torch.rad2deg(torch.atan2(-y, x))
    turned = shifted(copies(scene, 6), Shift(rotation=40), seeded()).images
    for image, angle in zip(turned, angles.tolist(), strict=True):
        expected = tv.rotate(scene.float(), angle, InterpolationMode.BILINEAR)
        # A hundredth of a degree is in doubt, and white noise is steep.
        assert float((image.float() - expected).abs().mean()) < 1.0


def test_moves_against_bilinear_sampling():
    """The four neighbours of each place, weighted by hand; zero outside."""
    scene = torch.randint(0, 256, (1, 12, 12), dtype=torch.uint8, generator=seeded(1))
    drawn = torch.rand(3, 1, generator=seeded()).mul(2).sub(1)[1:, 0]
    moved = shifted(copies(scene, 1), Shift(translation=0.3), seeded()).images[0]
    # Sampling at p + t moves the image by -t.
    shift = [-12 * 0.3 * float(part) for part in drawn]
    grid = torch.arange(12.0)
    ys, xs = torch.meshgrid(grid - shift[1], grid - shift[0], indexing="ij")
    bilinear = torch.zeros(12, 12)
    for dy in (0, 1):
        for dx in (0, 1):
            row, column = ys.floor() + dy, xs.floor() + dx
            weight = (1 - (ys - row).abs()) * (1 - (xs - column).abs())
            inside = (row >= 0) & (row < 12) & (column >= 0) & (column < 12)
            values = scene[0].float()[row.clamp(0, 11).long(), column.clamp(0, 11).long()]
            bilinear += torch.where(inside, weight * values, 0)
    assert torch.allclose(moved[0].float(), bilinear, atol=0.51)


def blob(x: float, y: float, height: int = 129, width: int = 129) -> Tensor:
    """A smooth spot with its centre (x, y) pixels from the middle: resampling does not move its centre."""
    axis_y, axis_x = (torch.arange(side) - (side - 1) / 2 for side in (height, width))
    distance = (axis_y[:, None] - y) ** 2 + (axis_x - x) ** 2
    return (255 * torch.exp(-distance / (2 * 5.0**2))).round().to(torch.uint8)[None]


@pytest.mark.parametrize(("zoom_in", "zoom_out"), [(0.5, 0.0), (0.0, 0.4), (0.6, 0.3)])
def test_zooms_are_uniform(zoom_in: float, zoom_out: float):
    """A spot right of the middle tells how far it was magnified."""
    images = copies(blob(20, 0), 2000)
    x, y = centres(shifted(images, Shift(zoom_in=zoom_in, zoom_out=zoom_out), seeded()).images).T
    assert float(y.abs().max()) < 0.01
    middle, half = 1 + (zoom_in - zoom_out) / 2, (zoom_in + zoom_out) / 2
    assert quantile_error(x / 20 - middle, half) < QUANTILE_ERROR


def test_zooms_against_torchvision():
    """The factor is read off one image and given to torchvision's affine for another that is magnified with it."""
    scene = torch.randint(0, 256, (1, 3, 17, 17), dtype=torch.uint8, generator=seeded(1)).float()
    scene = torch.nn.functional.interpolate(scene, (129, 129), mode="bilinear")[0].to(torch.uint8)
    shift = Shift(zoom_in=0.5, zoom_out=0.4)
    x, _ = centres(shifted(copies(blob(20, 0), 8), shift, seeded()).images).T
    zoomed = shifted(copies(scene, 8), shift, seeded()).images
    assert (x / 20 > 1.05).any() and (x / 20 < 0.95).any()
    for image, factor in zip(zoomed, (x / 20).tolist(), strict=True):
        expected = tv.affine(scene.float(), 0.0, [0.0, 0.0], factor, [0.0, 0.0], InterpolationMode.BILINEAR)
        # Torchvision's black border is one of whole pixels.
        assert float((image.float() - expected).abs().mean()) < 1.0


def test_images_that_are_not_square_are_turned_and_not_sheared():
    """A spot below the middle of a wide image goes the way of a circle in pixels."""
    x, y = centres(shifted(copies(blob(0, 20, width=257), 50), Shift(rotation=80), seeded()).images).T
    assert torch.allclose(torch.hypot(x, y), torch.tensor(20.0, dtype=torch.float64), atol=0.1)
    assert float(x.abs().max()) > 15


DRAWS = 200_000


@pytest.mark.parametrize(("zoom_in", "zoom_out"), [(0.5, 0.0), (0.0, 0.5), (1.0, 0.5), (0.01, 0.0), (0.0, 0.0)])
def test_spreads_are_those_of_the_maps_that_are_drawn(zoom_in: float, zoom_out: float):
    """As an epoch's record takes them from an augmenter's maps; 200,000 draws are right to half a percent."""
    shift = {"rotation": 30.0, "translation": 0.2, "zoom_in": zoom_in, "zoom_out": zoom_out}
    theta = Shift(**shift).draw(DRAWS, 8, 8, seeded()).double()
    drawn = {
        "rotation_spread_deg": math.degrees(torch.atan2(theta[:, 1, 0], theta[:, 0, 0]).std()),
        "translation_spread_percent": 50 * float(theta[:, :, 2].var(0).mean().sqrt()),
        "scale_spread_percent": 100 * float(torch.linalg.det(theta[:, :, :2]).sqrt().std()),
    }
    expected = schema.ShiftConfig(**shift).spreads()
    assert ("scale_spread_percent" in expected) == (zoom_in + zoom_out > 0)
    for name, spread in expected.items():
        assert spread == pytest.approx(drawn[name], rel=0.01)


def test_ranges_are_those_of_what_the_maps_do_to_pictures():
    """Under the names and in the units that learned augmenters describe themselves by."""
    shift = {"rotation": 30.0, "translation": 0.2, "zoom_in": 0.5, "zoom_out": 0.25}
    samples = affine_samples(Shift(**shift).draw(DRAWS, 8, 8, seeded()).double())
    ranges = schema.ShiftConfig(**shift).ranges()
    assert ranges.keys() == {"rotation_deg", "translation_x_percent", "translation_y_percent", "scale_factor"}
    for name, (low, high) in ranges.items():
        assert float(samples[name].min()) == pytest.approx(low, abs=0.002 * (high - low))
        assert float(samples[name].max()) == pytest.approx(high, abs=0.002 * (high - low))
    assert schema.ShiftConfig(rotation=30.0).ranges() == {"rotation_deg": (-30.0, 30.0)}
    assert schema.ShiftConfig().ranges() == {}


def test_no_shift_changes_nothing():
    images = Images(torch.randint(0, 256, (50, 3, 9, 9), dtype=torch.uint8, generator=seeded()), torch.arange(50))
    same = shifted(images, Shift(), seeded())
    assert torch.equal(same.images, images.images)
    assert torch.equal(same.labels, images.labels)


@pytest.mark.parametrize("num", [1, 4097])
def test_images_keep_number_order_and_labels(num: int):
    """More than one chunk; with a tiny angle each image is still its own."""
    images = Images(
        torch.arange(num).remainder(251).to(torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4), torch.arange(num)
    )
    same = shifted(images, Shift(rotation=1e-3), seeded())
    assert torch.equal(same.images[:, :, 1:3, 1:3], images.images[:, :, 1:3, 1:3])
    assert torch.equal(same.labels, images.labels)
    assert same.images.dtype == torch.uint8


def test_the_generator_decides():
    images = copies(spot(32, 52), 8)
    first, same, other = (
        shifted(images, Shift(rotation=45, translation=0.1), seeded(seed)).images for seed in (0, 0, 1)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert math.isclose(float(images.images.float().mean()), 255 * 25 / 65**2, rel_tol=1e-6)
