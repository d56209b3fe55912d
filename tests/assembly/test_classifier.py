"""A seed decides the first weights of a classifier."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from dabo_ray.assembly.classifier import CLASSIFIERS, make_classifier
from dabo_ray.config.schema import ClassifierConfig
from dabo_ray.config.schema.task import SEGMENTATION_CLASSIFIERS
from dabo_ray.data.splits import Pools

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name: Any, pools: Pools):
    config = ClassifierConfig(name=name, width=8)
    before = torch.get_rng_state()
    first, again, other = (make_classifier(config, pools, seed, CPU) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(parameters_to_vector(first.parameters()), parameters_to_vector(again.parameters()))
    assert not torch.equal(parameters_to_vector(first.parameters()), parameters_to_vector(other.parameters()))
    images = pools.labelled.images[:4].float() / 255
    assert first(images).shape == ((4, 10, 8, 8) if name in SEGMENTATION_CLASSIFIERS else (4, 10))
