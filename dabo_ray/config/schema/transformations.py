"""Baselines that are one transformation each, made by hand."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dabo_ray.config.schema.arm import TunableConfig
from dabo_ray.config.schema.section import Count, NotNegative, Positive

Unit = Annotated[float, Field(ge=0, le=1)]
Interval = Annotated[tuple[float, float], Field(strict=False)]


class FlipConfig(TunableConfig):
    """Mirrors every second image."""

    name: Literal["flip"]
    """`flip`."""

    vertical: bool = False
    """Upside down instead of left to right."""


class CropConfig(TunableConfig):
    """Pads with zeros and crops to the old size at random; `flip_crop` mirrors too."""

    name: Literal["crop", "flip_crop"]
    """`crop` or `flip_crop`."""

    padding: Annotated[int, Field(ge=1)] | None = None
    """Pixels on every side; null: an eighth of the side."""


class AffineConfig(TunableConfig):
    """Rotates, scales and translates at random."""

    name: Literal["affine"]
    """`affine`."""

    degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
    """Largest rotation to either side."""

    translate: Unit = 0.1
    """Largest shift along each axis, in sides of the image."""

    scale: Interval = (0.9, 1.1)
    """`[low, high]` magnification, over 0."""

    @model_validator(mode="after")
    def _scale_is_an_interval(self) -> Self:
        _check_interval("scale", self.scale, 0.0, float("inf"))
        return self


class ColorJitterConfig(TunableConfig):
    """Random brightness, contrast, saturation and hue, in random order."""

    name: Literal["color_jitter"]
    """`color_jitter`."""

    brightness: NotNegative = 0.4
    """The factor is uniform in 1 - brightness to 1 + brightness, 0 at least."""

    contrast: NotNegative = 0.4
    """The same for the contrast."""

    saturation: NotNegative = 0.4
    """The same for the saturation."""

    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """The shift is uniform in -hue to hue, in full circles."""


class CutoutConfig(TunableConfig):
    """Blackens a square about a random pixel."""

    name: Literal["cutout"]
    """`cutout`."""

    size: Count | None = None
    """Side of the square in pixels; null: half the shorter side of the image."""


class RandomErasingConfig(TunableConfig):
    """Paints a random rectangle."""

    name: Literal["random_erasing"]
    """`random_erasing`."""

    probability: Unit = 0.5
    """That an image is painted in."""

    scale: Interval = (0.02, 0.33)
    """`[low, high]` area over that of the image, from 0 to 1."""

    ratio: Interval = (0.3, 3.3)
    """`[low, high]` height over width, over 0."""

    value: Unit = 0.0
    """Of the painted pixels."""

    @model_validator(mode="after")
    def _are_intervals(self) -> Self:
        _check_interval("scale", self.scale, 0.0, 1.0)
        _check_interval("ratio", self.ratio, 0.0, float("inf"))
        return self


class MixingConfig(TunableConfig):
    """Images and labels mixed with others of the batch."""

    name: Literal["mixup", "cutmix"]
    """`mixup`: a blend; `cutmix`: a pasted rectangle."""

    alpha: Positive = 1.0
    """Of Beta(alpha, alpha), the share of an image."""


def _check_interval(key: str, interval: tuple[float, float], least: float, most: float) -> None:
    low, high = interval
    if not (least < low or least == low == 0 < most < float("inf")) or not low <= high <= most:
        within = f"from {least:g} to {most:g}" if most < float("inf") else f"over {least:g}"
        raise ValueError(f"{key} is [{low:g}, {high:g}]; give [low, high] with low <= high, both {within}")
