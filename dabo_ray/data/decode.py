"""Decoding of image files to pixels of one size."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from dabo_ray.data.images import DataError


@dataclass(frozen=True)
class Decoder:
    """Decodes any format that Pillow knows to RGB of one size."""

    image_size: int | None
    """Side of the result; None: images stay as they are and must all be of one size."""

    resize_over_crop: float = 1.0
    """The short side is brought to this times the image size, bilinear and antialiased, then the middle is cut out."""

    def __call__(self, content: bytes, name: str) -> Tensor:
        """(3, H, W) uint8.

        Raises:
            DataError: it is no image, or a damaged one.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                image = Image.open(io.BytesIO(content)).convert("RGB")
        except (OSError, SyntaxError, ValueError, struct.error, Warning, Image.DecompressionBombError) as error:
            raise DataError(f"{name} is not an image that can be read ({error}); get it again or take it out") from None
        if self.image_size is not None:
            image = self._resized(image, self.image_size)
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        return pixels.view(image.height, image.width, 3).permute(2, 0, 1)

    def _resized(self, image: Image.Image, size: int) -> Image.Image:
        short = round(size * self.resize_over_crop)
        if min(image.size) != short:
            # The long side is rounded down, as torchvision does.
            width, height = (int(short * side / min(image.size)) for side in image.size)
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (round((side - size) / 2) for side in image.size)
        return image.crop((left, top, left + size, top + size))
