"""Cutout written out pixel by pixel, random erasing against torchvision's."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import ks_2samp, kstest
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from dabo_ray.augment.erasing import ATTEMPTS, Cutout, RandomErasing


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("size", "height", "width"), [(None, 16, 16), (None, 9, 14), (5, 12, 10), (40, 8, 8)])
def test_cutout_pixel_by_pixel(noise, size: int | None, height: int, width: int) -> None:
    images = (noise(80, 3, height, width) // 2 + 100) / 255
    (centres,) = params = Cutout(size=size).draw(80, seeded())
    output = Cutout(size=size).apply(images, params)
    side = min(height, width) // 2 if size is None else size
    for image, out, (y, x) in zip(images, output, centres.tolist(), strict=True):
        row, column = math.floor(y * height), math.floor(x * width)
        expected = image.clone()
        for r in range(row - side // 2, row - side // 2 + side):
            for c in range(column - side // 2, column - side // 2 + side):
                if 0 <= r < height and 0 <= c < width:
                    expected[:, r, c] = 0
        assert torch.equal(out, expected)


def test_centres_of_cutouts_are_uniform(occur_as) -> None:
    (centres,) = Cutout().draw(20_000, seeded())
    rows, columns = (centres * 8).floor().long().unbind(1)
    assert occur_as(8 * rows + columns, torch.ones(64))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (10, 30)])
@pytest.mark.parametrize("settings", [{}, {"probability": 1.0, "scale": (0.3, 0.9), "ratio": (0.1, 9.0), "value": 0.5}])
def test_random_erasing_one_by_one(noise, settings: dict, height: int, width: int) -> None:
    augment = RandomErasing(**settings)
    images = noise(200, 3, height, width) / 255
    chosen, areas, aspects, corners = params = augment.draw(200, seeded())
    output = augment.apply(images, params)
    num_whole = 0
    for index, image in enumerate(images):
        expected, found = image, False
        for area, aspect in zip(areas[index].tolist(), aspects[index].tolist(), strict=True):
            pixels = area * height * width
            h, w = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
            if h < height and w < width:
                top = math.floor(corners[index, 0] * (height - h + 1))
                left = math.floor(corners[index, 1] * (width - w + 1))
                expected = tv.erase(image, top, left, h, w, torch.full((3, 1, 1), augment.value))
                found = True
                break
        num_whole += not (chosen[index] and found)
        assert torch.equal(output[index], expected if chosen[index] and found else image)
    assert num_whole < 200


@pytest.mark.parametrize("settings", [{}, {"scale": (0.4, 0.9), "ratio": (0.2, 5.0)}])
def test_rectangles_are_distributed_as_torchvisions(settings: dict) -> None:
    """Area, height and place of what is painted, in samples of both."""
    names = {"probability": 1.0, **settings}
    theirs = v2.RandomErasing(p=1.0, value=1.0, **settings)
    blank = torch.zeros(3000, 1, 24, 24)
    torch.manual_seed(0)
    samples = []
    for painted in (
        RandomErasing(value=1.0, **names)(blank, seeded())[:, 0],
        torch.stack([theirs(image) for image in blank])[:, 0],
    ):
        rows = painted.amax(2)
        samples.append((painted.sum((1, 2)), rows.sum(1), rows.argmax(1)))
    for ours, others in zip(*samples, strict=True):
        assert ks_2samp(ours.numpy(), others.numpy()).pvalue > 1e-3


def test_random_erasing_draws(occur_as) -> None:
    chosen, areas, aspects, corners = RandomErasing(probability=0.25).draw(20_000, seeded())
    assert areas.shape == aspects.shape == (20_000, ATTEMPTS)
    assert occur_as(chosen.long(), torch.tensor([0.75, 0.25]))
    assert kstest(areas[:, 3].numpy(), "uniform", (0.02, 0.31)).pvalue > 1e-3
    low, high = math.log(0.3), math.log(3.3)
    assert kstest(aspects[:, 0].log().numpy(), "uniform", (low, high - low)).pvalue > 1e-3
    assert kstest(corners[:, 1].numpy(), "uniform").pvalue > 1e-3
