"""The images of a study."""

from __future__ import annotations

from dabo_ray.config.schema import DataConfig, StudyConfig
from dabo_ray.data.shift import Shift
from dabo_ray.data.sources import Reading, load
from dabo_ray.data.splits import Pools, make_pools

TEST_FRACTION = 0.25
"""Held out of a data set that has no published test set, unless the study file says otherwise."""


def make_study_pools(study: StudyConfig) -> Pools:
    """Reads and divides the study's data.

    Raises:
        DataError: the data set is missing or damaged, or too small for the fractions.
    """
    data = study.data
    return make_pools(
        load(data.name, data.root, reading(data)),
        seed=study.seed,
        select_fraction=data.select_fraction,
        test_fraction=data.test_fraction or TEST_FRACTION,
        num_labels=data.num_labels,
        shift=Shift(**data.shift.model_dump()),
    )


def reading(data: DataConfig) -> Reading:
    """How the study's data set is read."""
    streaming = None if data.streaming == "auto" else data.streaming == "always"
    return Reading(cache=data.cache, image_size=data.image_size, streaming=streaming, fold=data.fold)
