"""The files that a study names beside its data."""

from __future__ import annotations

from dataclasses import replace

import torch

from dabo_ray.assembly.augmentation import BASELINES, make_base, make_baseline
from dabo_ray.assembly.classifier import make_classifier
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.splits import Pools

FEW = 16
"""Images for a network that is made to see whether it can be."""


def check_files(study: StudyConfig, pools: Pools) -> None:
    """Reads what the study names beside its data, so that a wrong file is told now and not by the first trial.

    Raises:
        PolicyFileError: the file of a policy cannot be read or holds none.
        AugmenterFileError: the file of an augmenter cannot be read, holds none, or none for this use.
        WeightsError: the pretrained weights cannot be read, or are those of another network.
    """
    for arm in study.arms.values():
        if arm.name in BASELINES:
            make_baseline(arm, pools.num_classes)
    make_base(study.augmenter, pools.num_classes)
    if study.classifier.weights:
        # The images only say how to standardise.
        few = replace(pools, labelled=pools.labelled.take(torch.arange(min(FEW, len(pools.labelled)))))
        make_classifier(study.classifier, few, study.seed, torch.device("cpu"))
