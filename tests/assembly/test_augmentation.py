"""Augmenters and hand-made augmentations by the settings of a study file."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor

from dabo_ray.assembly.augmentation import BASELINES, LEARNING, RANDOM, make_augmentation, make_baseline
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.color_jitter import ColorJitter
from dabo_ray.augment.fixed import Compose, FixedAugmentation
from dabo_ray.augment.frozen import FrozenAugmenter
from dabo_ray.augment.registry import AUGMENTERS
from dabo_ray.config.schema import Baseline, StudyConfig
from dabo_ray.config.schema.baselines import arm_of
from dabo_ray.trials import LEARNED, Phase, Trial

CPU = torch.device("cpu")
StudyMaker = Callable[..., StudyConfig]


def trial(method: str, seed: int = 1) -> Trial:
    return Trial(name="t", phase=Phase.SEARCH, arm=method, method=method, seed=seed, epochs=1)


def weights(module: torch.nn.Module) -> Tensor:
    return torch.nn.utils.parameters_to_vector(module.parameters())


@pytest.mark.parametrize("name", AUGMENTERS)
def test_augmenters(name: str, make_study: StudyMaker):
    study = make_study(f"augmenter.name={name}")
    before = torch.get_rng_state()
    first, again, other = (make_augmentation(study, trial(LEARNED, seed), CPU, 10) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(first, Augmenter) and isinstance(again, Augmenter) and isinstance(other, Augmenter)
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_the_random_augmenter_is_the_learned_one_before_it_learns(make_study: StudyMaker):
    study = make_study("baselines=[{name: random_augmenter, label: untrained}]")
    assert study.method_of("untrained") == RANDOM
    learned = make_augmentation(study, trial(LEARNED), CPU, 10)
    frozen = make_augmentation(study, trial(RANDOM), CPU, 10)
    assert isinstance(frozen, FrozenAugmenter) and isinstance(learned, Augmenter)
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    params = learned.draw(4, torch.Generator().manual_seed(3))
    assert torch.equal(frozen(images, torch.Generator().manual_seed(3)), learned(images, *params))


@pytest.mark.parametrize("name", sorted(set(get_args(Baseline)) - set(LEARNING)))
def test_every_fixed_baseline_transforms_images(name: str, make_study: StudyMaker):
    augmentation = make_augmentation(make_study(f"baselines=[{name}]"), trial(name), CPU, 10)
    assert isinstance(augmentation, FixedAugmentation)
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    once, again = (augmentation(images, torch.Generator().manual_seed(5)) for _ in range(2))
    assert once.shape == images.shape
    assert torch.equal(once, again)


def test_the_published_network_by_settings(make_study: StudyMaker):
    study = make_study("augmenter={name: affine_matrix, hidden: [6, 60], noise: 6, dropout: 0.2, centre: free}")
    network = make_augmentation(study, trial(LEARNED), CPU, 10)
    assert isinstance(network, Augmenter)
    assert weights(network).numel() == 828


def test_defaults_of_the_settings_are_those_of_the_objects():
    """A baseline by its name alone is what its class makes without arguments."""
    for name in BASELINES.keys() - {"mixup", "cutmix", "policy_file", "augmenter_file", "compose"}:
        made = make_baseline(arm_of(name), 10)
        plain = type(made)()
        assert name == "flip_crop" or repr(vars(made)) == repr(vars(plain))


AFFINE = "{name: affine, degrees: 10.0, translate: 0.0, scale: [0.5, 2.0]}"
PUBLISHED_LEVELS = {
    "0": "none",
    "1": "{name: crop, padding: 4}",
    "1.5": "flip",
    "2": "{name: flip_crop, padding: 4}",
    "2.5": f"{{name: crop, padding: 4}}, {AFFINE}",
    "3": f"{{name: crop, padding: 4}}, {AFFINE}, flip",
}
"""DABO's baselines on CIFAR, in the settings of a study file."""


@pytest.mark.parametrize("level", PUBLISHED_LEVELS)
def test_the_published_levels_can_be_written(level: str, make_study: StudyMaker):
    steps = PUBLISHED_LEVELS[level]
    study = make_study(
        f"baselines=[{{name: compose, label: plain, steps: [{steps}]}},"
        f"{{name: compose, label: jittered, steps: [{steps}, color_jitter]}}]"
    )
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain, jittered = (make_baseline(arm, 10) for arm in study.arms.values())
    assert isinstance(plain, Compose) and isinstance(jittered, Compose)
    assert repr(list(map(vars, plain.steps))) == repr(list(map(vars, jittered.steps[:-1]))) or level == "2"
    assert isinstance(jittered.steps[-1], ColorJitter)
    assert plain(images, torch.Generator().manual_seed(0)).shape == images.shape
