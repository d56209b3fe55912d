"""Augmentation of an arm: made by hand, or by an augmenter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from dabo_ray.assembly.first_weights import seeded
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.augmix import AugMix
from dabo_ray.augment.autoaugment import AutoAugment
from dabo_ray.augment.color_jitter import ColorJitter
from dabo_ray.augment.erasing import Cutout, RandomErasing
from dabo_ray.augment.fast_autoaugment import FastAutoAugment
from dabo_ray.augment.fast_autoaugment_file import read_policy
from dabo_ray.augment.fixed import Compose, FixedAugmentation, Identity
from dabo_ray.augment.frozen import AugmenterFileError, FrozenAugmenter, read_frozen
from dabo_ray.augment.geometric import Crop, Flip, FlipCrop, RandomAffine
from dabo_ray.augment.mixing import CutMix, Mixup
from dabo_ray.augment.randaugment import RandAugment, TrivialAugmentWide
from dabo_ray.augment.registry import AUGMENTERS
from dabo_ray.config.schema import AugmenterConfig, StudyConfig
from dabo_ray.config.schema.baselines import Settings, arm_of
from dabo_ray.seeds import derive
from dabo_ray.trials import FROZEN, LEARNED, Trial

RANDOM = "random_augmenter"
STN = "stn"
ADVERSARIAL = "adversarial"
LEARNING = (LEARNED, STN, ADVERSARIAL)
"""Methods whose augmenter is learned while the classifier is trained."""

BASELINES: dict[str, Callable[..., FixedAugmentation]] = {
    "none": lambda classes: Identity(),
    "flip": lambda classes, **settings: Flip(**settings),
    "crop": lambda classes, **settings: Crop(**settings),
    "flip_crop": lambda classes, **settings: FlipCrop(**settings),
    "affine": lambda classes, **settings: RandomAffine(**settings),
    "color_jitter": lambda classes, **settings: ColorJitter(**settings),
    "cutout": lambda classes, **settings: Cutout(**settings),
    "random_erasing": lambda classes, **settings: RandomErasing(**settings),
    "autoaugment": lambda classes, **settings: AutoAugment(**settings),
    "randaugment": lambda classes, **settings: RandAugment(**settings),
    "trivialaugment": lambda classes: TrivialAugmentWide(),
    "augmix": lambda classes, **settings: AugMix(**settings),
    "mixup": Mixup,
    "cutmix": CutMix,
    "policy_file": lambda classes, path: FastAutoAugment(read_policy(Path(path))),
    "augmenter_file": lambda classes, path: read_frozen(Path(path), classes),
    "compose": lambda classes, steps: _compose([make_baseline(arm_of(step), classes) for step in steps]),
}
"""Each takes the number of classes and the settings of its section by name."""


def make_augmentation(
    study: StudyConfig, trial: Trial, device: torch.device, num_classes: int, learned: Augmenter | None = None
) -> FixedAugmentation | Augmenter:
    """The augmentation of a trial: an augmenter to learn, the same untrained or as it was learned, or a hand-made one.

    Args:
        study: with the trial's settings applied.
        trial: method and seed.
        device: where it is used.
        num_classes: of the data.
        learned: for a frozen trial, the augmenter that its origin learned.

    Raises:
        PolicyFileError: the file of a policy cannot be read or holds none.
        AugmenterFileError: the file of an augmenter cannot be read, holds none, or none for this use.
    """
    if trial.method == FROZEN:
        assert learned is not None
        return FrozenAugmenter(learned.to(device))
    if trial.method not in (*LEARNING, RANDOM):
        return make_baseline(study.arms[trial.method], num_classes).to(device)
    with seeded(derive(trial.seed, "augmenter")):
        augmenter = make_augmenter(study.augmenter, num_classes).to(device)
    return FrozenAugmenter(augmenter) if trial.method == RANDOM else augmenter


def make_augmenter(config: AugmenterConfig, num_classes: int) -> Augmenter:
    """The augmenter of the settings, with weights from torch's generator."""
    return AUGMENTERS[config.name](
        noise=config.noise,
        hidden=config.hidden,
        depth=config.depth,
        centred=config.centre == "identity",
        dropout=config.dropout,
        operations=config.operations,
        conditioning=config.conditioning,
        num_classes=num_classes,
    )


def make_base(config: AugmenterConfig, num_classes: int) -> FixedAugmentation:
    """What is done by hand to the images that an augmenter is given.

    Raises:
        PolicyFileError: the file of a policy cannot be read or holds none.
        AugmenterFileError: the file of an augmenter cannot be read, holds none, or none for this use.
    """
    steps = [make_baseline(arm_of(step), num_classes) for step in config.base]
    return _compose(steps) if steps else Identity()


def make_baseline(arm: Settings, num_classes: int) -> FixedAugmentation:
    """A hand-made augmentation with its settings; raises as `make_augmentation` does."""
    return BASELINES[arm.name](num_classes, **{key: getattr(arm, key) for key in arm.settings()})


def _compose(steps: Sequence[FixedAugmentation]) -> Compose:
    for step in steps:
        if isinstance(step, FrozenAugmenter) and step.augmenter.conditioning != "none":
            raise AugmenterFileError(
                f"an augmenter file of a composition depends on the {step.augmenter.conditioning}, which its steps are "
                "not told; name it as a baseline by itself, or give one that was learned without conditioning"
            )
    return Compose(steps)
