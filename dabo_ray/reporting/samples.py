"""Pictures of a trial: originals beside their augmented versions, images beside masks and predictions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dabo_ray.storage.atomic import replacing


def sample_grid(before: np.ndarray, after: np.ndarray, path: Path) -> None:
    """Write a PNG whose every row is an original and its augmented versions, enlarged without smoothing.

    Args:
        before: The originals, uint8, shape (n, H, W, C), C = 1 or 3.
        after: k augmented versions of each, uint8, shape (n, k, H, W, C).
        path: The PNG to write; an older one is replaced as a whole.

    Raises:
        ValueError: The arrays do not have these types or shapes.
    """
    is_uint8 = before.dtype == after.dtype == np.uint8
    fits = before.ndim == 4 and after.ndim == 5 and after.shape[:1] + after.shape[2:] == before.shape
    if not (is_uint8 and fits and after.size > 0 and before.shape[-1] in (1, 3)):
        raise ValueError(
            "a sample grid needs uint8 arrays of shapes (n, H, W, C) and (n, k, H, W, C), n and k >= 1, C 1 or 3; "
            f"got {before.dtype} {before.shape} and {after.dtype} {after.shape}"
        )
    tiles = np.concatenate([before[:, None], after], axis=1)
    _write_grid(tiles, {0: "original", 1: "augmented"}, path)


def prediction_grid(images: np.ndarray, masks: np.ndarray, said: np.ndarray, path: Path) -> None:
    """Write a PNG whose every row is an image, its mask and what a classifier says of its pixels, in the same colours.

    Args:
        images: uint8, shape (n, H, W, C), C = 1 or 3.
        masks: uint8 classes, shape (n, H, W); 255, which is drawn in grey, where the class is not known.
        said: uint8 classes, shape (n, H, W).
        path: The PNG to write; an older one is replaced as a whole.
    """
    coloured = images if images.shape[-1] == 3 else images.repeat(3, axis=-1)
    colours = class_colours()
    _write_grid(np.stack([coloured, colours[masks], colours[said]], 1), {0: "image", 1: "mask", 2: "said"}, path)


def class_colours() -> np.ndarray:
    """(256, 3) uint8: of each class, black for class 0 and grey for 255; they repeat after twenty."""
    from matplotlib import colormaps

    cycle = (np.array(colormaps["tab20"].colors) * 255).round().astype(np.uint8)  # type: ignore[attr-defined]
    colours = cycle[(np.arange(256) - 1) % len(cycle)]
    colours[0], colours[255] = 0, 128
    return colours


def _write_grid(tiles: np.ndarray, headings: Mapping[int, str], path: Path) -> None:
    """Writes (n, k, H, W, C) tiles, enlarged without smoothing; the first column stands apart.

    Args:
        tiles: uint8, C = 1 or 3.
        headings: words above columns, by their numbers.
        path: the PNG to write.
    """
    num_rows, _, height, width, _ = tiles.shape
    if tiles.shape[-1] == 1:
        tiles = tiles.repeat(3, axis=-1)
    scale = max(1, round(72 / max(height, width)))
    tiles = tiles.repeat(scale, axis=2).repeat(scale, axis=3)
    tile_height, tile_width = height * scale, width * scale

    gap, margin, caption = 4, 12, 24
    lefts = margin + np.arange(tiles.shape[1]) * (tile_width + gap)
    lefts[1:] += 3 * gap  # the originals stand apart
    tops = caption + np.arange(num_rows) * (tile_height + gap)
    canvas = np.full((tops[-1] + tile_height + margin, lefts[-1] + tile_width + margin, 3), 255, np.uint8)
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            canvas[top : top + tile_height, left : left + tile_width] = tiles[row, column]

    # Imported here: a trial draws once, at its end.
    from matplotlib.figure import Figure

    dpi = 100
    figure = Figure(figsize=(canvas.shape[1] / dpi, canvas.shape[0] / dpi), dpi=dpi)
    figure.figimage(canvas)
    for column, text in headings.items():
        figure.text(lefts[column] / canvas.shape[1], 1 - caption / 2 / canvas.shape[0], text, fontsize=9, va="center")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)
