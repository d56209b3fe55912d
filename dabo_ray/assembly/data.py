"""Data of a study and of its trials."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dabo_ray.config.schema import DataConfig, StudyConfig
from dabo_ray.data.images import Images
from dabo_ray.data.loader import Batches
from dabo_ray.data.published import Progress, silent
from dabo_ray.data.shift import Shift
from dabo_ray.data.sources import Reading, load
from dabo_ray.data.splits import Pools, make_pools
from dabo_ray.seeds import derive
from dabo_ray.trials import LEARNED, Phase, Trial
from dabo_ray.workers import Workers

TEST_FRACTION = 0.25
"""Held out of a data set that has no published test set, unless the study file says otherwise."""


def make_study_pools(study: StudyConfig, progress: Progress = silent, *, convert: bool = True) -> Pools:
    """Reads and divides the study's data.

    Args:
        study: says which.
        progress: told how far a conversion is.
        convert: whether images come through the cache; otherwise nothing is written, and they are decoded when asked
            for.

    Raises:
        DataError: the data set is missing or damaged, or too small for the fractions.
    """
    data = study.data
    return make_pools(
        load(data.name, data.imported or data.root, reading(data, progress, convert=convert)),
        seed=study.seed,
        select_fraction=data.select_fraction,
        test_fraction=data.test_fraction or TEST_FRACTION,
        num_labels=data.num_labels,
        shift=Shift(**data.shift.model_dump()),
    )


def reading(data: DataConfig, progress: Progress = silent, *, convert: bool = True) -> Reading:
    """How the study's data set is read; see `make_study_pools`."""
    streaming = None if data.streaming == "auto" else data.streaming == "always"
    return Reading(
        cache=data.cache,
        image_size=data.image_size,
        streaming=streaming,
        fold=data.fold,
        groups=data.groups,
        intensity_range=data.intensity_range,
        ignore_index=data.ignore_index,
        convert=convert,
        progress=progress,
    )


@dataclass(frozen=True)
class TrialData:
    """The images of a trial, by what they are for."""

    fit: Batches
    """To train the classifier on."""

    outer: Batches | None
    """To learn the augmenter on; None where it is not learned by the outer problem."""

    score: Images
    """To judge the trial by: select, or in the final phase test."""


def make_data(study: StudyConfig, trial: Trial, pools: Pools, workers: Workers, device: torch.device) -> TrialData:
    """The batches of a trial.

    Raises:
        DataError: a part is left with no image.
    """
    roles = pools.roles(
        learned=trial.method == LEARNED,
        final=trial.phase is Phase.FINAL,
        outer_fraction=study.data.outer_fraction,
        seed=trial.seed,
    )
    size, outer = study.classifier.batch_size, None
    fit = Batches(roles.fit, size, derive(trial.seed, "batches"), workers, device)
    if roles.outer is not None:
        fraction = study.bilevel.for_training(trial.epochs * len(fit)).outer_batch_fraction
        assert fraction is not None
        # A batch has an image for every worker, and two for statistics.
        outer_size = max(2, workers.world_size, round(fraction * size))
        outer = Batches(roles.outer, outer_size, derive(trial.seed, "outer batches"), workers, device)
    return TrialData(fit=fit, outer=outer, score=roles.score)
