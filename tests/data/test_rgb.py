"""Images of all modes as 8-bit RGB: values, orientation and transparency by the rules that are stated."""

from __future__ import annotations

import io
import resource
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dabo_ray.data import decode
from dabo_ray.data.decode import Decoder
from dabo_ray.data.images import DataError
from dabo_ray.data.sources import Reading, load
from tests.data.miniatures import random_bytes, write_files

RAMP = np.tile((np.arange(16) * 4369).astype(np.uint16), (4, 1))
"""0 to 65535 in 16 steps."""

STEPS = list(range(0, 256, 17))


def file(image: Image.Image, kind: str = "png", **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def row(content: bytes, **settings: object) -> list[int]:
    """The first row, which must be grey."""
    pixels = Decoder(None, **settings)(content, "x")  # type: ignore[arg-type]
    assert torch.equal(pixels[0], pixels[1]) and torch.equal(pixels[0], pixels[2])
    return pixels[0, 0].tolist()


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (Image.fromarray(RAMP), "png"),
        (Image.fromarray(RAMP), "tiff"),
        (Image.fromarray(RAMP), "ppm"),
        (Image.fromarray(RAMP.astype(">u2")), "tiff"),
        (Image.fromarray((RAMP / 65535).astype(np.float32)), "tiff"),
    ],
)
def test_more_than_8_bits_are_scaled_from_their_full_range(image: Image.Image, kind: str):
    assert row(file(image, kind)) == STEPS


def test_an_intensity_range_scales_and_clips():
    hounsfield = Image.fromarray(RAMP.astype(np.int32) // 4369 * 100 - 1000)
    assert row(file(hounsfield, "tiff"), intensity_range=(-1000, 500)) == STEPS
    assert row(file(hounsfield, "tiff"), intensity_range=(-900, 400)) == [
        round(min(max((value - 1) / 13, 0), 1) * 255) for value in range(16)
    ]
    assert row(file(Image.fromarray(RAMP // 16), "png"), intensity_range=(0, 4095.9375)) == STEPS
    eight_bits = Image.fromarray((RAMP // 257).astype(np.uint8))
    assert row(file(eight_bits), intensity_range=(0, 10)) == STEPS


def test_white_may_be_zero():
    tags = {262: 0}
    assert row(file(Image.fromarray(RAMP), "tiff", tiffinfo=tags)) == STEPS[::-1]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (RAMP.astype(np.float32), "values reach from 0 to 65535, .*; set data.intensity_range to .BLACK, WHITE."),
        (RAMP.astype(np.int32), "values reach from 0 to 65535, .*; set data.intensity_range"),
        (RAMP.astype(np.float32) / 65535 - 0.5, "values reach from -0.5 to 0.5"),
        (np.full((4, 4), np.nan, np.float32), "not finite"),
    ],
)
def test_values_of_no_known_range_are_refused(values: np.ndarray, words: str):
    with pytest.raises(DataError, match=f"x.tif cannot be read .it.*{words}"):
        Decoder(None)(file(Image.fromarray(values), "tiff"), "x.tif")


def test_12_bits_in_16_are_told_of_and_mended_by_a_range(tmp_path: Path):
    write_files(tmp_path / "x", {f"{c}/0.png": file(Image.fromarray(RAMP // 16)) for c in "ab"})
    dark, bright = (
        load("image_folder", tmp_path / "x", Reading(intensity_range=intensity)) for intensity in (None, (0, 4095))
    )
    assert int(dark.labelled.images.max()) == 16 and int(bright.labelled.images.max()) == 255
    assert "brightest pixel of 2 images is 16 of 255" in dark.notes[0] and "intensity_range" in dark.notes[0]
    assert not bright.notes


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp"])
def test_exif_orientation_is_applied(orientation: int, kind: str):
    """Against a table of what is where: the corner that holds the top left of what is to be seen."""
    corners = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
    stored = np.zeros((16, 32, 3), np.uint8)
    down, right = corners[orientation]
    stored[8 * down : 8 * down + 8, 16 * right : 16 * right + 16] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = Decoder(None)(file(Image.fromarray(stored), kind, exif=exif), "x")
    assert seen.shape == ((3, 16, 32) if orientation < 5 else (3, 32, 16))
    height, width = seen.shape[1] // 2, seen.shape[2] // 2
    assert seen[:, :height, :width].float().mean() > 230
    assert seen[:, height:].float().mean() < 25 and seen[:, :, width:].float().mean() < 25


def test_damaged_exif_is_passed_over():
    image = Image.fromarray(random_bytes(8, 8, 3).numpy())
    expected = Decoder(None)(file(image), "x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen = Decoder(None)(file(image, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff"), "x")
    assert torch.equal(seen, expected)


def transparent() -> Image.Image:
    """A red pixel: opaque, half and not at all."""
    return Image.fromarray(np.array([[[255, 0, 0, 255], [255, 0, 0, 128], [255, 0, 0, 0]]], np.uint8))


def test_transparent_pixels_show_white():
    for content in (file(transparent()), file(transparent(), "webp", lossless=True, exact=True)):
        pixels = Decoder(None)(content, "x")[:, 0].T.tolist()
        assert pixels == [[255, 0, 0], [255, 127, 127], [255, 255, 255]]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    assert Decoder(None)(file(palette, transparency=1), "x")[:, 0].T.tolist() == [[10, 20, 30], [255, 255, 255]]
    grey = Image.fromarray(np.array([[[7, 255], [7, 0]]], np.uint8), "LA")
    assert row(file(grey)) == [7, 255]
    key = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert Decoder(None)(file(key, transparency=(4, 5, 6)), "x")[:, 0].T.tolist() == [[1, 2, 3], [255, 255, 255]]


def test_opaque_images_with_an_alpha_channel_are_what_they_are():
    pixels = random_bytes(9, 7, 4).numpy()
    pixels[..., 3] = 255
    seen = Decoder(None)(file(Image.fromarray(pixels)), "x")
    assert torch.equal(seen, torch.from_numpy(pixels[..., :3]).permute(2, 0, 1))


def test_other_modes():
    assert row(file(Image.fromarray(np.array([[True, False]])))) == [255, 0]
    ink = Image.fromarray(np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [255, 0, 0, 0]]], np.uint8), "CMYK")
    for kind in ("tiff", "jpeg"):
        settings = {"quality": 100, "subsampling": 0} if kind == "jpeg" else {}
        pixels = Decoder(None)(file(ink.resize((24, 8), 0), kind, **settings), "x")[:, 0, ::8].int()
        assert (pixels.T - torch.tensor([[255, 255, 255], [0, 0, 0], [0, 255, 255]])).abs().max() < 12
    palette = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    assert Decoder(None)(file(palette), "x")[:, 0].T.tolist() == [[10, 20, 30], [40, 50, 60]]


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff"])
def test_a_scan_of_92_megapixels(kind: str):
    scan = Image.new("L", (9600, 9600))
    scan.paste(255, (0, 0, 4800, 9600))
    content = file(scan, kind)
    seen = Decoder(16)(content, "x")[0].float()
    assert seen[:, :7].min() == 255 and seen[:, 9:].max() == 0
    with pytest.raises(DataError, match=r"x cannot be read .it has 9600x9600 pixels.; set data\.image_size"):
        Decoder(None)(content, "x")


def test_jpegs_are_read_at_a_fraction_of_their_size(monkeypatch: pytest.MonkeyPatch):
    """Of any size: what is decoded counts, not what the file says."""
    content = file(Image.new("RGB", (1600, 1600), (10, 200, 30)), "jpeg")
    monkeypatch.setattr(decode, "LARGE_PIXELS", 1000)
    monkeypatch.setattr(decode, "MOST_PIXELS", 200 * 200)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert (Decoder(16)(content, "x").float().mean((1, 2)) - torch.tensor([10, 200, 30])).abs().max() < 3


def test_a_file_that_claims_more_than_can_be_read():
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    with pytest.raises(DataError, match=r"over 179 megapixels.; make what is too large smaller, or cut it"):
        Decoder(16)(bomb, "x")


@pytest.mark.parametrize(("width", "height"), [(20000, 10), (10, 20000)])
def test_panoramas_take_no_gigabytes(width: int, height: int):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    content = file(Image.new("RGB", (width, height), (1, 2, 3)))
    seen = Decoder(1024)(content, "x")
    assert seen.shape == (3, 1024, 1024) and seen.float().mean((1, 2)).tolist() == [1, 2, 3]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024, "in KiB"


@pytest.mark.parametrize(("height", "width"), [(40, 700), (700, 40), (50, 50)])
def test_the_middle_of_a_panorama_is_that_of_the_whole(height: int, width: int, monkeypatch: pytest.MonkeyPatch):
    """But at its edges, to which the rest contributes nothing."""
    content = file(Image.fromarray(random_bytes(height, width, 3).numpy()))
    whole = Decoder(24)(content, "x").int()
    monkeypatch.setattr(decode, "MOST_RESIZED", 0)
    middle = Decoder(24)(content, "x").int()
    assert (whole - middle)[:, 2:-2, 2:-2].abs().max() <= 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS, to be replaced by git lfs pull"),
        (b"<html>", "of no format that Pillow knows"),
    ],
)
def test_why_a_file_is_no_image(content: bytes, words: str):
    with pytest.raises(DataError, match=f"a/1.png cannot be read .{words}.*; get what is damaged again"):
        Decoder(None)(content, "a/1.png")
