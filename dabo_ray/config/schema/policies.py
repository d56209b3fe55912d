"""Baselines that choose among transformations: the published policies, and what a file holds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dabo_ray.config.schema.arm import ArmConfig, TunableConfig
from dabo_ray.config.schema.section import Positive


class AutoAugmentConfig(TunableConfig):
    """The published policies."""

    name: Literal["autoaugment"]
    """`autoaugment`."""

    policy: Literal["cifar10", "imagenet", "svhn"] = "cifar10"
    """The data set that it was learned on."""


class RandAugmentConfig(TunableConfig):
    """Several operations of one strength."""

    name: Literal["randaugment"]
    """`randaugment`."""

    num_ops: Annotated[int, Field(ge=1, le=14)] = 2
    """Operations for each image (N)."""

    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Their strength (M)."""


class AugMixConfig(TunableConfig):
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


class PolicyFileConfig(ArmConfig):
    """A policy from a file, in Fast AutoAugment's form."""

    name: Literal["policy_file"]
    """`policy_file`."""

    path: Annotated[str, Field(min_length=1)]
    """JSON or a Python literal: a list of sub-policies, each a list of [operation, probability, level]."""


class AugmenterFileConfig(ArmConfig):
    """What another study has learned, fixed: how a distribution does beyond the images it was learned on."""

    name: Literal["augmenter_file"]
    """`augmenter_file`."""

    path: Annotated[str, Field(min_length=1)]
    """The `augmenter.safetensors` of a trial. One that depends on the class is for data with the same classes."""
