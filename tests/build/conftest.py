"""A small study and its images."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dabo_ray import build
from dabo_ray.config import Study
from dabo_ray.data.splits import Pools

StudyMaker = Callable[..., Study]


@pytest.fixture
def study(make_study: StudyMaker) -> Study:
    return make_study()


@pytest.fixture
def pools(study: Study) -> Pools:
    return build.make_study_pools(study)
