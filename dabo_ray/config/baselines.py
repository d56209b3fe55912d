"""Hand-made augmentation to compare with: each by its name, or by its name with settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Discriminator, Field, Tag, model_validator

from dabo_ray.config.section import Count, NotNegative, Positive, Section

Baseline = Literal[
    "none",
    "flip",
    "crop",
    "flip_crop",
    "affine",
    "color_jitter",
    "cutout",
    "random_erasing",
    "autoaugment",
    "randaugment",
    "trivialaugment",
    "augmix",
    "mixup",
    "cutmix",
    "random_augmenter",
    "stn",
    "adversarial",
]
"""What a name alone may be, with the settings that are the defaults below."""

Unit = Annotated[float, Field(ge=0, le=1)]
Interval = Annotated[tuple[float, float], Field(strict=False)]


class Arm(Section):
    """A baseline with settings."""

    label: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] | None = None
    """Name of the arm in tables; null: the baseline's. Two of one kind need two labels."""


class Plain(Arm):
    """A baseline without settings of its own."""

    name: Literal["none", "trivialaugment"]
    """`none`: images as they are; `trivialaugment`: TrivialAugmentWide."""


class Network(Arm):
    """The augmentation network of the study's `augmenter`, without the outer problem."""

    name: Literal["random_augmenter", "stn", "adversarial"]
    """`random_augmenter`: untrained; `stn`, `adversarial`: learns from the training loss, down or up it."""


class Flip(Arm):
    """Mirrors every second image."""

    name: Literal["flip"]
    """`flip`."""

    vertical: bool = False
    """Upside down instead of left to right."""


class Crop(Arm):
    """Pads with zeros and crops to the old size at random; `flip_crop` mirrors too."""

    name: Literal["crop", "flip_crop"]
    """`crop` or `flip_crop`."""

    padding: Annotated[int, Field(ge=1)] | None = None
    """Pixels on every side; null: an eighth of the side."""


class Affine(Arm):
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


class ColorJitter(Arm):
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


class Cutout(Arm):
    """Blackens a square about a random pixel."""

    name: Literal["cutout"]
    """`cutout`."""

    size: Count | None = None
    """Side of the square in pixels; null: half the shorter side of the image."""


class RandomErasing(Arm):
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


class AutoAugment(Arm):
    """The published policies."""

    name: Literal["autoaugment"]
    """`autoaugment`."""

    policy: Literal["cifar10", "imagenet", "svhn"] = "cifar10"
    """The data set that it was learned on."""


class RandAugment(Arm):
    """Several operations of one strength."""

    name: Literal["randaugment"]
    """`randaugment`."""

    num_ops: Annotated[int, Field(ge=1, le=14)] = 2
    """Operations for each image (N)."""

    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Their strength (M)."""


class AugMix(Arm):
    """Images mixed with themselves after chains of operations; without the consistency loss."""

    name: Literal["augmix"]
    """`augmix`."""

    severity: Annotated[int, Field(ge=1, le=10)] = 3
    """Strongest level that is drawn."""

    mixture_width: Annotated[int, Field(ge=1, le=10)] = 3
    """Chains."""

    chain_depth: Annotated[int, Field(ge=1, le=10)] | None = None
    """Operations of a chain; null: one to three, drawn for each."""

    alpha: Positive = 1.0
    """Concentration of the mixing weights."""

    all_ops: bool = True
    """With brightness, saturation, contrast and sharpness."""


class Mixing(Arm):
    """Images and labels mixed with others of the batch."""

    name: Literal["mixup", "cutmix"]
    """`mixup`: a blend; `cutmix`: a pasted rectangle."""

    alpha: Positive = 1.0
    """Of Beta(alpha, alpha), the share of an image."""


class PolicyFile(Arm):
    """A policy from a file, in Fast AutoAugment's form."""

    name: Literal["policy_file"]
    """`policy_file`."""

    path: Annotated[str, Field(min_length=1)]
    """JSON or a Python literal: a list of sub-policies, each a list of [operation, probability, level]."""


class Composition(Arm):
    """Several augmentations, one after the other."""

    name: Literal["compose"]
    """`compose`."""

    steps: Annotated[list[Step], Field(min_length=1)]
    """Names, or sections with a name and settings."""

    @model_validator(mode="after")
    def _steps_are_hand_made(self) -> Self:
        if any(isinstance(arm_of(step), Network | Composition) for step in self.steps):
            raise ValueError("steps may be neither compositions nor networks; name hand-made augmentations")
        return self


Settings = (
    Plain
    | Network
    | Flip
    | Crop
    | Affine
    | ColorJitter
    | Cutout
    | RandomErasing
    | AutoAugment
    | RandAugment
    | AugMix
    | Mixing
    | PolicyFile
    | Composition
)


PLAIN, ARM = "a name alone", "a name with settings"
"""How pydantic tells the two forms apart, also in the places of its errors."""


def _form_of(value: Any) -> str | None:
    if isinstance(value, str):
        return PLAIN
    return ARM if isinstance(value, dict | Arm) else None


Step = Annotated[
    Annotated[Baseline, Tag(PLAIN)] | Annotated[Settings, Field(discriminator="name"), Tag(ARM)],
    Discriminator(_form_of),
]
"""A name, or a section with a name and settings."""

Composition.model_rebuild()

ARMS: dict[str, type[Settings]] = {
    name: section for section in get_args(Settings) for name in get_args(section.model_fields["name"].annotation)
}
"""Every name that a baseline may have -> its section."""


def arm_of(step: Step) -> Settings:
    """The settings of a baseline that may be given by its name alone."""
    return ARMS[step].model_validate({"name": step}) if isinstance(step, str) else step


def label_of(step: Step) -> str:
    """What the arm of a baseline is called."""
    return arm_of(step).label or arm_of(step).name


def mixes_images(step: Step) -> bool:
    """Whether an image is mixed with others of its batch, of which a worker has only a part."""
    arm = arm_of(step)
    return isinstance(arm, Mixing) or (isinstance(arm, Composition) and any(map(mixes_images, arm.steps)))


def _check_interval(key: str, interval: tuple[float, float], least: float, most: float) -> None:
    low, high = interval
    if not (least < low or least == low == 0 < most < float("inf")) or not low <= high <= most:
        within = f"from {least:g} to {most:g}" if most < float("inf") else f"over {least:g}"
        raise ValueError(f"{key} is [{low:g}, {high:g}]; give [low, high] with low <= high, both {within}")
