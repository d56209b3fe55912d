"""Augmentation to compare with: each by its name, or by its name with settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Discriminator, Field, Tag, model_validator

from dabo_ray.config.schema.arm import ArmConfig, TunableConfig, values_of
from dabo_ray.config.schema.policies import (
    AugmenterFileConfig,
    AugMixConfig,
    AutoAugmentConfig,
    PolicyFileConfig,
    RandAugmentConfig,
)
from dabo_ray.config.schema.space import Choice, FloatRange, IntRange, Value
from dabo_ray.config.schema.transformations import (
    AffineConfig,
    ColorJitterConfig,
    CropConfig,
    CutoutConfig,
    FlipConfig,
    MixingConfig,
    RandomErasingConfig,
)

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


class PlainConfig(ArmConfig):
    """A baseline without settings of its own."""

    name: Literal["none", "trivialaugment"]
    """`none`: images as they are; `trivialaugment`: TrivialAugmentWide."""


class NetworkConfig(ArmConfig):
    """The augmentation network of the study's `augmenter`, without the outer problem."""

    name: Literal["random_augmenter", "stn", "adversarial"]
    """`random_augmenter`: untrained; `stn`, `adversarial`: learns from the training loss, down or up it."""


class CompositionConfig(ArmConfig):
    """Several augmentations, one after the other."""

    name: Literal["compose"]
    """`compose`."""

    steps: Annotated[list[BaselineEntry], Field(min_length=1)]
    """Names, or sections with a name and settings."""

    @model_validator(mode="after")
    def _steps_are_hand_made(self) -> Self:
        if not are_hand_made(self.steps):
            raise ValueError("steps may be neither compositions nor networks; name hand-made augmentations")
        return self


Settings = (
    PlainConfig
    | NetworkConfig
    | FlipConfig
    | CropConfig
    | AffineConfig
    | ColorJitterConfig
    | CutoutConfig
    | RandomErasingConfig
    | AutoAugmentConfig
    | RandAugmentConfig
    | AugMixConfig
    | MixingConfig
    | PolicyFileConfig
    | AugmenterFileConfig
    | CompositionConfig
)


PLAIN, ARM = "a name alone", "a name with settings"
"""How pydantic tells the two forms apart, also in the places of its errors."""


def _form_of(value: Any) -> str | None:
    if isinstance(value, str):
        return PLAIN
    return ARM if isinstance(value, dict | ArmConfig) else None


BaselineEntry = Annotated[
    Annotated[Baseline, Tag(PLAIN)] | Annotated[Settings, Field(discriminator="name"), Tag(ARM)],
    Discriminator(_form_of),
]
"""A name, or a section with a name and settings."""

CompositionConfig.model_rebuild()

ARMS: dict[str, type[Settings]] = {
    name: section for section in get_args(Settings) for name in get_args(section.model_fields["name"].annotation)
}
"""Every name that a baseline may have -> its section."""


def arm_of(step: BaselineEntry) -> Settings:
    """The settings of a baseline that may be given by its name alone."""
    return ARMS[step].model_validate({"name": step}) if isinstance(step, str) else step


def label_of(step: BaselineEntry) -> str:
    """What the arm of a baseline is called."""
    return arm_of(step).label or arm_of(step).name


def tuned(arm: Settings) -> Mapping[str, IntRange | FloatRange | Choice]:
    """What is tried for the settings of a baseline, by their key paths in it: `magnitude`, `steps.1.magnitude`."""
    if isinstance(arm, CompositionConfig):
        steps = enumerate(map(arm_of, arm.steps))
        return {f"steps.{place}.{key}": entry for place, step in steps for key, entry in tuned(step).items()}
    return arm.tune if isinstance(arm, TunableConfig) else {}


def combinations_of(arm: Settings) -> Iterator[dict[str, Value]]:
    """Every combination of the values that are tried, by key paths; one without keys if the baseline is not tuned."""
    tried = tuned(arm)
    return (dict(zip(tried, values, strict=True)) for values in product(*map(values_of, tried.values())))


def numbered(label: str, number: int) -> str:
    """What a trial of a tuned baseline is called."""
    return f"{label}-{number:02d}"


def are_hand_made(steps: Sequence[BaselineEntry]) -> bool:
    """Whether these may stand one after the other: neither compositions nor networks."""
    return not any(isinstance(arm_of(step), NetworkConfig | CompositionConfig) for step in steps)


def mixes_images(step: BaselineEntry) -> bool:
    """Whether an image is mixed with others of its batch, of which a worker has only a part."""
    arm = arm_of(step)
    return isinstance(arm, MixingConfig) or (isinstance(arm, CompositionConfig) and any(map(mixes_images, arm.steps)))
