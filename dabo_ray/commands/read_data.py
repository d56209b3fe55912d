"""Data of a study, and the files that it names beside it, read before anything is begun."""

from __future__ import annotations

import sys

from dabo_ray.assembly import check_files, make_study_pools
from dabo_ray.augment.fast_autoaugment_file import PolicyFileError
from dabo_ray.augment.frozen import AugmenterFileError
from dabo_ray.config.errors import ConfigError
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.images import DataError
from dabo_ray.data.splits import Pools
from dabo_ray.models.imagenet import WeightsError
from dabo_ray.tracking.activity import Activity


def read_data(study: StudyConfig, activity: Activity) -> Pools:
    """The images of a study, converted to the cache if they must be; tells how they were understood.

    Args:
        study: the checked study file.
        activity: told how far it is.

    Raises:
        ConfigError: data or another file is missing, damaged or not what it should be.
    """
    activity.now(f"reading {study.data.name}")
    try:
        pools = make_study_pools(study, activity.count)
        for note in pools.notes:
            print(note, file=sys.stderr)
        # Too few images for a part are told now, not by the first trial.
        pools.roles(learned=True, final=False, outer_fraction=study.data.outer_fraction, seed=study.seed)
        activity.now("reading the files that the study names")
        check_files(study, pools)
    except (DataError, PolicyFileError, AugmenterFileError, WeightsError) as error:
        raise ConfigError(str(error)) from None
    return pools
