"""Decoding of image files to pixels of one size."""

from __future__ import annotations

import io
import math
import struct
import threading
import warnings
from dataclasses import dataclass
from typing import ClassVar

import torch
from PIL import Image, JpegImagePlugin, UnidentifiedImageError
from torch import Tensor

from dabo_ray.data.images import DataError
from dabo_ray.data.rgb import ORIENTATION, ValuesError, rgb, upright

LARGE_PIXELS = 89_478_485
"""Images of more are read one at a time and, if they are JPEGs, at a fraction of their size (Pillow's own limit)."""

MOST_PIXELS = 2 * LARGE_PIXELS
"""Of an image as it is decoded; more are refused, since a file of some kilobytes can claim them."""

MOST_RESIZED = 2**24
"""Pixels of a resized image of which the middle is cut out; if there were more, it is cut out before."""

_one_at_a_time = threading.Lock()


class ImageError(DataError):
    """An image that cannot be decoded.

    Args:
        name: of the image.
        reason: why not.
        way_out: what to do about it.
    """

    def __init__(self, name: str, reason: str, way_out: str) -> None:
        super().__init__(name, reason, way_out)
        self.name = name
        self.reason = reason
        self.way_out = way_out

    def __str__(self) -> str:
        return f"{self.name} cannot be read ({self.reason}); {self.way_out}"


@dataclass(frozen=True)
class Decoder:
    """Decodes any format that Pillow knows to upright RGB of one size; of several frames, the first."""

    CHANNELS: ClassVar[int] = 3
    RESAMPLING: ClassVar[Image.Resampling] = Image.Resampling.BILINEAR

    image_size: int | None
    """Side of the result; None: images stay as they are and must all be of one size."""

    resize_over_crop: float = 1.0
    """The short side is brought to this times the image size, bilinear and antialiased, then the middle is cut out."""

    intensity_range: tuple[float, float] | None = None
    """Black and white of grey images with more than 8 bits; None: see `rgb`."""

    def __call__(self, content: bytes, name: str) -> Tensor:
        """(3, H, W) uint8; of a mask, (1, H, W).

        Raises:
            ImageError: it is no image, or a damaged one, or too large.
        """
        try:
            with warnings.catch_warnings():
                # Of sizes, which are this module's to judge, and of oddities that do not matter, once for each image.
                # No more than Pillow's are ignored: of threads that do so at once, one may leave its filter behind.
                warnings.filterwarnings("ignore", module=r"PIL\.")
                image = self._decoded(content)
        except ValuesError as error:
            raise ImageError(name, error.reason, error.way_out) from None
        except UnidentifiedImageError:
            raise ImageError(name, _unknown(content), _WAY_OUT) from None
        except Image.DecompressionBombError:
            raise ImageError(name, f"it has over {MOST_PIXELS / 1e6:.0f} megapixels", _SMALLER) from None
        except (OSError, SyntaxError, ValueError, TypeError, struct.error) as error:
            raise ImageError(name, f"{error}", _WAY_OUT) from None
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        return pixels.view(image.height, image.width, self.CHANNELS).permute(2, 0, 1)

    def size_of(self, content: bytes, name: str) -> tuple[int, int]:
        """Width and height of the upright image as it is in the file, which is not decoded.

        Raises:
            ImageError: it is no image.
        """
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module=r"PIL\.")
                image = _opened(content)
                is_on_its_side = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        except (Image.DecompressionBombError, OSError, SyntaxError, ValueError, TypeError, struct.error):
            raise ImageError(name, _unknown(content), _WAY_OUT) from None
        return image.size[::-1] if is_on_its_side else image.size

    def _decoded(self, content: bytes) -> Image.Image:
        image = _opened(content)
        if math.prod(image.size) <= LARGE_PIXELS:
            return self._resized(self.converted(upright(image)))
        if self.image_size is None:
            raise ValuesError(f"it has {image.width}x{image.height} pixels", "set data.image_size")
        with _one_at_a_time:
            short = 2 * round(self.image_size * self.resize_over_crop)
            # JPEGs alone know how to.
            image.draft(None, (short, short))
            if math.prod(image.size) > MOST_PIXELS:
                raise ValuesError(f"it has {image.width}x{image.height} pixels", _SMALLER)
            return self._resized(self.converted(upright(image)))

    def converted(self, image: Image.Image) -> Image.Image:
        """In the mode of the result."""
        return rgb(image, self.intensity_range)

    def _resized(self, image: Image.Image) -> Image.Image:
        size = self.image_size
        if size is None:
            return image
        short = round(size * self.resize_over_crop)
        if min(image.size) != short:
            # The long side is rounded down, as torchvision does.
            width, height = (int(short * side / min(image.size)) for side in image.size)
            if width * height > MOST_RESIZED:
                return _middle(image, width, height, size, self.RESAMPLING)
            image = image.resize((width, height), self.RESAMPLING)
        left, top = (round((side - size) / 2) for side in image.size)
        return image.crop((left, top, left + size, top + size))


_WAY_OUT = "get what is damaged again or take it out"
_SMALLER = "make what is too large smaller, or cut it into tiles"


def _opened(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content))
    except Image.DecompressionBombError:
        if not content.startswith(b"\xff\xd8"):
            raise
        return JpegImagePlugin.JpegImageFile(io.BytesIO(content))


def _middle(image: Image.Image, width: int, height: int, size: int, resampling: Image.Resampling) -> Image.Image:
    """The middle of an image as if it were resized to (width, height): of a panorama, most is never asked for."""
    left, top = (round((side - size) / 2) for side in (width, height))
    across, down = image.width / width, image.height / height
    box = (left * across, top * down, (left + size) * across, (top + size) * down)
    return image.resize((size, size), resampling, box)


def _unknown(content: bytes) -> str:
    """Why a file is of no known format."""
    if not content:
        return "the file is empty"
    if content.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, to be replaced by git lfs pull"
    return "of no format that Pillow knows"
