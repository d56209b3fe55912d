"""The sample grid, pixel by pixel."""

import os

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from dabo_ray.reporting.samples import sample_grid


@pytest.mark.parametrize("channels", [1, 3])
def test_sample_grid_holds_every_pixel(tmp_path, channels):
    digits = (load_digits().images[:3] * 15.9).astype(np.uint8)
    before = np.stack([digits] * channels, axis=-1)
    after = np.stack([255 - before, np.roll(before, 2, axis=2)], axis=1)
    path = tmp_path / "samples.png"
    sample_grid(before, after, path)
    assert os.listdir(tmp_path) == ["samples.png"]

    picture = np.asarray(Image.open(path).convert("RGB"))
    scale, gap, margin, caption = 9, 4, 12, 24
    step = 8 * scale + gap
    assert picture.shape == (caption + 3 * step - gap + margin, 2 * margin + 3 * step - gap + 3 * gap, 3)
    tiles = np.concatenate([before[:, None], after], axis=1)
    for row in range(3):
        for column in range(3):
            top, left = (caption + row * step, margin + column * step + 3 * gap * (column > 0))
            seen = picture[top : top + 72, left : left + 72]
            expected = np.broadcast_to(tiles[row, column], (8, 8, 3)).repeat(scale, 0).repeat(scale, 1)
            np.testing.assert_array_equal(seen, expected)
    assert picture[:caption].min() < 100  # the captions are there


def test_sample_grid_of_larger_images_that_are_not_square(tmp_path):
    before = np.random.default_rng(0).integers(0, 256, (1, 100, 60, 3), dtype=np.uint8)
    sample_grid(before, before[:, None], tmp_path / "samples.png")
    picture = np.asarray(Image.open(tmp_path / "samples.png").convert("RGB"))
    np.testing.assert_array_equal(picture[24:124, 12:72], before[0])


def test_sample_grid_replaces_an_older_one(tmp_path):
    path = tmp_path / "samples.png"
    path.write_bytes(b"half a picture")
    sample_grid(np.zeros((1, 8, 8, 1), np.uint8), np.zeros((1, 1, 8, 8, 1), np.uint8), path)
    Image.open(path).verify()


@pytest.mark.parametrize(
    ("before", "after", "dtype"),
    [
        ((2, 8, 8, 1), (2, 3, 8, 8, 1), np.float32),
        ((2, 8, 8, 1), (3, 3, 8, 8, 1), np.uint8),
        ((2, 8, 8, 1), (2, 3, 8, 9, 1), np.uint8),
        ((2, 8, 8, 2), (2, 3, 8, 8, 2), np.uint8),
        ((2, 8, 8, 1), (2, 0, 8, 8, 1), np.uint8),
        ((0, 8, 8, 1), (0, 3, 8, 8, 1), np.uint8),
        ((8, 8, 1), (3, 8, 8, 1), np.uint8),
    ],
)
def test_sample_grid_refuses_what_is_no_grid(tmp_path, before, after, dtype):
    with pytest.raises(ValueError, match=r"uint8 arrays of shapes \(n, H, W, C\).*got"):
        sample_grid(np.zeros(before, dtype), np.zeros(after, dtype), tmp_path / "samples.png")
    assert os.listdir(tmp_path) == []
