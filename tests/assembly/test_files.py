"""Wrong files are told before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dabo_ray.assembly import check_files
from dabo_ray.augment import export
from dabo_ray.augment.affine import AffineAugmenter
from dabo_ray.augment.fast_autoaugment_file import PolicyFileError
from dabo_ray.augment.frozen import AugmenterFileError
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.splits import Pools
from dabo_ray.models.pretrained import WeightsError

StudyMaker = Callable[..., StudyConfig]


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("baselines=[{name: policy_file, path: absent}]", PolicyFileError),
        ("baselines=[{name: compose, steps: [flip, {name: policy_file, path: absent}]}]", PolicyFileError),
        ("baselines=[{name: augmenter_file, path: absent}]", AugmenterFileError),
        ("baselines=[{name: compose, steps: [flip, {name: augmenter_file, path: absent}]}]", AugmenterFileError),
        ("augmenter={base: [flip, {name: policy_file, path: absent}]}", PolicyFileError),
        ("classifier={name: resnet18_imagenet, weights: absent}", WeightsError),
    ],
)
def test_files_that_are_not_there_are_told_before_anything_starts(
    override, error, make_study: StudyMaker, pools: Pools
):
    with pytest.raises(error, match=r"absent: No such file|no file absent"):
        check_files(make_study(override), pools)
    check_files(make_study("baselines=[none, stn, cutmix]"), pools)


@pytest.mark.parametrize("conditioning", ["none", "class", "image"])
def test_an_augmenter_that_must_be_told_something_is_for_itself_alone(
    conditioning: Any, make_study: StudyMaker, pools: Pools, tmp_path: Path
):
    path = tmp_path / "a.safetensors"
    export.save(AffineAugmenter(conditioning=conditioning, num_classes=10), path)
    arm = f"{{name: augmenter_file, path: {path}}}"
    check_files(make_study(f"baselines=[{arm}]"), pools)
    told = f"depends on the {conditioning}, which its steps are not told; name"
    for override in (f"baselines=[{{name: compose, steps: [flip, {arm}]}}]", f"augmenter={{base: [{arm}]}}"):
        composed = make_study(override)
        if conditioning == "none":
            check_files(composed, pools)
            continue
        with pytest.raises(AugmenterFileError, match=told):
            check_files(composed, pools)


def test_an_augmenter_for_other_classes_is_refused(make_study: StudyMaker, pools: Pools, tmp_path: Path):
    path = tmp_path / "a.safetensors"
    export.save(AffineAugmenter(conditioning="class", num_classes=3), path)
    with pytest.raises(AugmenterFileError, match="on 3 classes, the data have 10"):
        check_files(make_study(f"baselines=[{{name: augmenter_file, path: {path}}}]"), pools)
