"""Images of any mode of Pillow as 8-bit RGB, upright and opaque, by rules that are the same for every image."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image, ImageOps

BITS_PER_SAMPLE, PHOTOMETRIC, ORIENTATION = 258, 262, 274
"""Tags of TIFF, and of EXIF."""

WHITE = (255, 255, 255, 255)


class ValuesError(ValueError):
    """Values that no stated rule brings to 8 bits.

    Args:
        reason: what is the matter with them.
        way_out: what to do about it.
    """

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(reason, way_out)
        self.reason = reason
        self.way_out = way_out


def upright(image: Image.Image) -> Image.Image:
    """As its EXIF orientation says that it is to be seen; damaged EXIF says nothing."""
    try:
        # Without an orientation it would copy the image.
        return ImageOps.exif_transpose(image) if image.getexif().get(ORIENTATION, 1) != 1 else image
    except (SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return image


def rgb(image: Image.Image, intensity_range: tuple[float, float] | None = None) -> Image.Image:
    """An image in mode RGB.

    Whole numbers of 16 bits are scaled from 0..65535 (of 12 bits from 0..4095) to 0..255, floats from 0..1; with an
    intensity range from there, and what lies outside is clipped. Transparent pixels are composited onto white.

    Args:
        image: in any mode; loaded or not.
        intensity_range: values of black and of white, for images of one channel with more than 8 bits.

    Raises:
        ValuesError: there are values that are not numbers, or whose range is not known.
        OSError: the file is damaged.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled(image, intensity_range).convert("RGB")
    if image.mode in ("RGBa", "La"):
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image)
    if image.mode == "LAB":
        raise ValuesError("it is in CIELAB", "convert such images to RGB")
    return image.convert("RGB")


def _scaled(image: Image.Image, intensity_range: tuple[float, float] | None) -> Image.Image:
    """Grey values of more than 8 bits in mode L."""
    values = np.asarray(image)
    if image.mode == "I;16B":
        # Older versions of numpy are given the order of bytes as it is in the file.
        values = values.astype(np.uint16)
    if not np.isfinite(values).all():
        raise ValuesError("it has values that are not finite", "replace them by numbers")
    low, high = intensity_range or _full_range(image)
    lowest, highest = float(values.min()), float(values.max())
    if intensity_range is None and not low <= lowest <= highest <= high:
        raise ValuesError(
            f"its values reach from {lowest:g} to {highest:g}, and nothing says which are black and white",
            "set data.intensity_range to [BLACK, WHITE], the same for all images",
        )
    scaled = (np.clip(values.astype(np.float64), low, high) - low) * (255 / (high - low))
    grey = np.rint(scaled).astype(np.uint8)
    tags = getattr(image, "tag_v2", {})
    # White is zero.
    return Image.fromarray(255 - grey if tags.get(PHOTOMETRIC) == 0 else grey)


def _full_range(image: Image.Image) -> tuple[float, float]:
    """From black to white where nothing else is said; empty if it is not known."""
    if image.mode == "F":
        return 0.0, 1.0
    # Pillow before 11 read PNG and PGM of 16 bits into 32.
    if image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):
        bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))
        return 0.0, float(2 ** int(bits[0]) - 1)
    return 0.0, -1.0
