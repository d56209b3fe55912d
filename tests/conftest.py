"""Studies small enough for tests, and the one Ray that the `ray` tier shares."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dabo_ray.config import Study
from dabo_ray.study_file import apply_overrides, check_study

# Before torch is imported: the two cores of a small machine are shared by several workers.
os.environ.setdefault("OMP_NUM_THREADS", "1")

StudyMaker = Callable[..., Study]

TINY: Mapping[str, Any] = {
    "study": "tiny",
    "data": {"name": "digits", "num_labels": 300},
    "classifier": {"width": 8, "epochs": 2, "batch_size": 64},
    "augmenter": {"hidden": 8},
    "search": {"trials": 2, "sampler": "random", "space": {"augmenter.lr": {"float": [0.001, 0.1], "log": True}}},
    "baselines": ["none"],
    "final": {"top": 1, "seeds": 1},
}
"""Five trials of two epochs, a fraction of a second each."""


@pytest.fixture
def make_study(tmp_path: Path) -> StudyMaker:
    """Makes a tiny study whose results go to the test's folder; arguments are `key.path=value` in YAML."""

    def make(*overrides: str) -> Study:
        return check_study(apply_overrides({**TINY, "storage": str(tmp_path / "runs")}, overrides), "the test's study")

    return make


@pytest.fixture(scope="session")
def local_ray() -> Iterator[Mapping[str, float]]:
    """A local Ray with two CPUs, as the service starts it; gives its resources."""
    import ray

    from dabo_ray.service.cluster import QUIET
    from dabo_ray.service.tune import TRIAL_RESOURCE

    os.environ.update(QUIET)
    ray.init(num_cpus=2, resources={TRIAL_RESOURCE: 64}, include_dashboard=False, log_to_driver=False)
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()
