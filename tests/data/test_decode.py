"""Decoding: sizes as torchvision makes them, and all kinds of colours as RGB."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from dabo_ray.data.decode import Decoder
from tests.data.miniatures import (
    encoded,
    random_bytes,
)


def prepared(path: Path, size: int) -> torch.Tensor:
    """As torchvision does it: the short side to 8/7 of the size, then the middle."""
    transform = v2.Compose([v2.Resize(round(size * 256 / 224)), v2.CenterCrop(size), v2.PILToTensor()])
    return transform(Image.open(path).convert("RGB"))  # type: ignore[no-any-return]


@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 48), (21, 100), (24, 24), (500, 37), (10, 11)])
@pytest.mark.parametrize("size", [21, 24, 32])
def test_resizing_is_torchvisions(height: int, width: int, size: int, tmp_path: Path):
    (tmp_path / "x.png").write_bytes(encoded(random_bytes(3, height, width)))
    decoded = Decoder(size, 256 / 224)((tmp_path / "x.png").read_bytes(), "x.png")
    assert torch.equal(decoded, prepared(tmp_path / "x.png", size))


def test_grey_and_transparent_images_become_rgb(tmp_path: Path):
    grey = Image.fromarray(random_bytes(8, 8).numpy())
    for image in (grey, grey.convert("LA"), grey.convert("P"), grey.convert("CMYK")):
        image.save(tmp_path / "x.tiff")
        assert Decoder(None)((tmp_path / "x.tiff").read_bytes(), "x").shape == (3, 8, 8)
