"""The images of a study follow its settings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dabo_ray.assembly.data import TEST_FRACTION, make_study_pools
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.images import DataError

StudyMaker = Callable[..., StudyConfig]


def test_pools_follow_the_study(make_study: StudyMaker):
    pools = make_study_pools(make_study("data.test_fraction=0.5", "data.num_labels=100"))
    assert abs(len(pools.labelled) - 100) <= 10
    assert abs(len(pools.test) - 1797 / 2) <= 10
    default = make_study_pools(make_study())
    assert abs(len(default.test) - 1797 * TEST_FRACTION) <= 10


def test_data_that_is_not_there(make_study: StudyMaker):
    with pytest.raises(DataError, match=r"CIFAR-10 .*--download"):
        make_study_pools(make_study("data={name: cifar10}"))
