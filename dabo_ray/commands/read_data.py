"""Data of a study, and the files that it names beside it, read before anything is begun."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from dabo_ray.assembly import check_files, make_study_pools
from dabo_ray.augment.fast_autoaugment_file import PolicyFileError
from dabo_ray.augment.frozen import AugmenterFileError
from dabo_ray.config.errors import ConfigError
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.class_counts import class_names, part_counts, too_small
from dabo_ray.data.images import DataError
from dabo_ray.data.splits import Pools
from dabo_ray.importing import ImportedError
from dabo_ray.models.pretrained import WeightsError
from dabo_ray.tracking.activity import Activity


def read_data(
    study: StudyConfig, activity: Activity, *, convert: bool = True
) -> tuple[Pools, Mapping[str, Sequence[int]]]:
    """The images of a study, and how many of each class its parts have; tells how they were understood.

    Args:
        study: the checked study file.
        activity: told how far it is.
        convert: whether images come through the cache; otherwise nothing is written.

    Raises:
        ConfigError: data or another file is missing, damaged or not what it should be.
    """
    activity.now(f"reading {study.data.label}")
    try:
        pools = make_study_pools(study, activity.count, convert=convert)
        # Too few images for a part are told now, not by the first trial.
        counts = part_counts(pools, outer_fraction=study.data.outer_fraction, seed=study.seed)
        for note in (*pools.notes, *too_small(counts, class_names(pools))):
            print(note, file=sys.stderr)
        activity.now("reading the files that the study names")
        check_files(study, pools)
    except (DataError, PolicyFileError, AugmenterFileError, WeightsError, ImportedError) as error:
        raise ConfigError(str(error)) from None
    return pools, counts
