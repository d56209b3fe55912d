"""A small study and its images."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dabo_ray import assembly
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.splits import Pools

StudyMaker = Callable[..., StudyConfig]


@pytest.fixture
def study(make_study: StudyMaker) -> StudyConfig:
    return make_study()


@pytest.fixture
def pools(study: StudyConfig) -> Pools:
    return assembly.make_study_pools(study)
