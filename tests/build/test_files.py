"""Wrong files are told before anything starts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dabo_ray.augment.policy_file import PolicyError
from dabo_ray.build import check_files
from dabo_ray.config import Study
from dabo_ray.data.splits import Pools
from dabo_ray.models.imagenet import WeightsError

StudyMaker = Callable[..., Study]


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("baselines=[{name: policy_file, path: absent}]", PolicyError),
        ("baselines=[{name: compose, steps: [flip, {name: policy_file, path: absent}]}]", PolicyError),
        ("classifier={name: resnet18_imagenet, weights: absent}", WeightsError),
    ],
)
def test_files_that_are_not_there_are_told_before_anything_starts(
    override, error, make_study: StudyMaker, pools: Pools
):
    with pytest.raises(error, match="absent: No such file"):
        check_files(make_study(override), pools)
    check_files(make_study("baselines=[none, stn, cutmix]"), pools)
