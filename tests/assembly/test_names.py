"""Every name that a study file may hold has its object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import pytest

from dabo_ray.assembly.augmentation import ADVERSARIAL, BASELINES, RANDOM, STN
from dabo_ray.assembly.classifier import CLASSIFIERS
from dabo_ray.assembly.learner import ENGINES, OPTIMIZERS
from dabo_ray.augment.registry import AUGMENTERS
from dabo_ray.bilevel.schedule import DECAY, MILESTONES
from dabo_ray.config.schema import AugmenterConfig, Baseline, BilevelConfig, ClassifierConfig, DataConfig
from dabo_ray.config.schema.baselines import ARMS
from dabo_ray.data.sources import FORMATS
from dabo_ray.trials import LEARNED


def names(annotation: Any) -> set[str]:
    return set(get_args(annotation))


@pytest.mark.parametrize(
    ("allowed", "known"),
    [
        # Beside `timm/NAME`.
        (get_args(ClassifierConfig.model_fields["name"].annotation)[0], CLASSIFIERS),
        (AugmenterConfig.model_fields["name"].annotation, AUGMENTERS),
        (AugmenterConfig.model_fields["optimizer"].annotation, OPTIMIZERS),
        (BilevelConfig.model_fields["engine"].annotation, ENGINES),
        (DataConfig.model_fields["name"].annotation, {**FORMATS, "digits": None, "segmentation_digits": None}),
    ],
    ids=["classifier", "augmenter", "optimizer", "engine", "data"],
)
def test_names_of_a_study_file_are_those_that_are_known(allowed: Any, known: Mapping[str, Any]):
    assert names(allowed) == known.keys()


def test_every_baseline_has_its_object_and_its_settings():
    assert ARMS.keys() == {*BASELINES, RANDOM, STN, ADVERSARIAL}
    # A name alone is for what needs no settings.
    assert names(Baseline) == ARMS.keys() - {"policy_file", "augmenter_file", "compose"}


def test_learned_is_not_the_name_of_a_baseline():
    assert LEARNED not in names(Baseline)


def test_the_published_schedule_is_the_same_for_those_who_write_files_and_those_who_write_code():
    assert (tuple(ClassifierConfig().milestones), ClassifierConfig().decay) == (MILESTONES, DECAY)
