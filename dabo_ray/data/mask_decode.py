"""Decoding of mask files, the classes of pixels, as their images are resized and cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from dabo_ray.data.decode import Decoder
from dabo_ray.data.rgb import ValuesError


@dataclass(frozen=True)
class MaskDecoder(Decoder):
    """Decodes a mask to one channel of whole numbers, resized by the nearest pixel.

    Taken are class numbers from 0 to 255 in 8 or 16 bits, places in a palette, black and white, and grey as RGB.
    """

    CHANNELS: ClassVar[int] = 1
    RESAMPLING: ClassVar[Image.Resampling] = Image.Resampling.NEAREST

    def converted(self, image: Image.Image) -> Image.Image:
        """Mode L, its levels the values of the file."""
        if image.mode in ("L", "P"):
            return Image.fromarray(np.asarray(image))
        if image.mode == "1":
            return Image.fromarray(np.asarray(image).astype(np.uint8))
        values = np.asarray(image)
        if image.mode in ("RGB", "RGBA", "LA"):
            # An alpha channel says nothing about classes.
            grey, *others = np.moveaxis(values, -1, 0)[: 3 if image.mode != "LA" else 1]
            if any((other != grey).any() for other in others):
                raise ValuesError("it is in colours", "write masks as class numbers, in grey or with a palette")
            return Image.fromarray(grey.copy())
        if image.mode.startswith("I") and values.min() >= 0 and values.max() <= 255:
            return Image.fromarray(values.astype(np.uint8))
        raise ValuesError(
            f"its mode is {image.mode} and its values reach from {values.min():g} to {values.max():g}",
            "write masks as class numbers from 0 to 255",
        )
