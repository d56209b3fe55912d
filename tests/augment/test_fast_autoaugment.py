"""Fast AutoAugment's operations, with PIL as the oracle: that is what they were published with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch import Tensor

from dabo_ray.augment.fast_autoaugment import FILL, KINDS, FastAutoAugment


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_pil(image: Image.Image, name: str, value: float, centre: Tensor) -> Image.Image:
    """An operation in the words of the paper's table 6 (of AutoAugment), its length in pixels, its sign turned."""
    width, height = image.size

    if name == "Posterize2" and value < 1:
        # Later versions of PIL refuse what keeps no bit.
        return Image.new("RGB", image.size)

    def affine(*matrix: float) -> Image.Image:
        return image.transform(image.size, Image.Transform.AFFINE, matrix)

    if name == "Cutout" and value <= 0:
        return image
    if name.startswith("Cutout"):
        y, x = centre.tolist()
        x0, y0 = int(max(0, x * width - value / 2)), int(max(0, y * height - value / 2))
        cut = image.copy()
        corners = (x0, y0, min(width, x0 + value), min(height, y0 + value))
        ImageDraw.Draw(cut).rectangle(corners, FILL)
        return cut
    return {
        "ShearX": lambda: affine(1, value, 0, 0, 1, 0),
        "ShearY": lambda: affine(1, 0, 0, value, 1, 0),
        "TranslateX": lambda: affine(1, 0, value, 0, 1, 0),
        "TranslateXAbs": lambda: affine(1, 0, value, 0, 1, 0),
        "TranslateY": lambda: affine(1, 0, 0, 0, 1, value),
        "TranslateYAbs": lambda: affine(1, 0, 0, 0, 1, value),
        "Rotate": lambda: image.rotate(value),
        "AutoContrast": lambda: ImageOps.autocontrast(image),
        "Invert": lambda: ImageOps.invert(image),
        "Equalize": lambda: ImageOps.equalize(image),
        "Solarize": lambda: ImageOps.solarize(image, value),  # type: ignore[arg-type]
        "Posterize": lambda: ImageOps.posterize(image, int(value)),
        "Posterize2": lambda: ImageOps.posterize(image, int(value)),
        "Contrast": lambda: ImageEnhance.Contrast(image).enhance(value),
        "Color": lambda: ImageEnhance.Color(image).enhance(value),
        "Brightness": lambda: ImageEnhance.Brightness(image).enhance(value),
        "Sharpness": lambda: ImageEnhance.Sharpness(image).enhance(value),
    }[name]()


EXACT = {"TranslateX", "TranslateY", "TranslateXAbs", "TranslateYAbs", "Invert", "Equalize", "Solarize", "Posterize"}
EXACT |= {"Posterize2", "Cutout", "CutoutAbs"}


@pytest.mark.parametrize("name", KINDS)
def test_equals_pil_at_every_level(noise, name: str) -> None:
    levels = torch.linspace(0, 1, 41).tolist()
    augment = FastAutoAugment([[(name, 1.0, level)] for level in levels])
    images = noise(41, 3, 20, 26)
    _, used, negative, centres = augment.draw(41, seeded())
    params = (torch.arange(41), used, negative, centres)
    output = augment.apply(images / 255, params) * 255
    low, high = KINDS[name].low, KINDS[name].high
    side = 20 if name == "TranslateY" else 26
    for index, level in enumerate(levels):
        value = (low + level * (high - low)) * (side if KINDS[name].of_side else 1)
        value = -value if KINDS[name].signed and negative[index, 0] else value
        image = Image.fromarray(images[index].permute(1, 2, 0).numpy())
        picture = with_pil(image, name, value, centres[index, 0])
        expected = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        difference = (output[index] - expected).abs()
        if name in EXACT:
            assert difference.max() < 1e-3, level
        elif name in ("ShearX", "ShearY", "Rotate"):
            # Half way between two pixels the last bit decides.
            assert (difference > 1e-3).double().mean() < 0.03, level
        else:
            assert difference.max() <= 1 + 1e-3, level


def test_draws(occur_as) -> None:
    augment = FastAutoAugment(
        [[("Invert", 0.25, 0.0), ("Color", 0.5, 0.1)], [("Rotate", 1.0, 1.0)], [("Color", 0.0, 1.0)]]
    )
    chosen, used, negative, centres = augment.draw(30_000, seeded())
    assert occur_as(chosen, torch.ones(3))
    shares = torch.tensor([0.75 * 0.5, 0.75 * 0.5, 0.25 * 0.5, 0.25 * 0.5, 0, 0, 1, 0, 1, 0, 0, 0])
    assert occur_as(4 * chosen + 2 * used[:, 0] + used[:, 1].long(), shares)
    assert occur_as(negative.long(), torch.ones(2))
    assert occur_as((centres * 4).long(), torch.ones(4))


def test_a_short_sub_policy_ends_early(noise) -> None:
    augment = FastAutoAugment([[("Invert", 1.0, 0.0)], 3 * [("Invert", 1.0, 0.0)], 2 * [("Invert", 1.0, 0.0)]])
    images = noise(30, 1, 8, 8) / 255
    params = augment.draw(30, seeded())
    output = augment.apply(images, params)
    for index, chosen in enumerate(params[0].tolist()):
        expected = images[index] if chosen == 2 else 1 - images[index]
        torch.testing.assert_close(output[index], expected)


def test_operations_follow_each_other(noise) -> None:
    """Each sub-policy is that of its single operations, one after the other."""
    steps = [("TranslateX", 1.0, 0.9), ("Cutout", 1.0, 1.0), ("Solarize", 1.0, 0.3)]
    images = noise(20, 3, 16, 16) / 255
    chosen, used, negative, centres = params = FastAutoAugment([steps]).draw(20, seeded())
    expected: Tensor = images
    for place, step in enumerate(steps):
        column = slice(place, place + 1)
        alone = (chosen, used[:, column], negative[:, column], centres[:, column])
        expected = FastAutoAugment([[step]]).apply(expected, alone)
    torch.testing.assert_close(FastAutoAugment([steps]).apply(images, params), expected)
