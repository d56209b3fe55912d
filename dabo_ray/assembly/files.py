"""The files that a study names beside its data."""

from __future__ import annotations

from dataclasses import replace

import torch

from dabo_ray.assembly.augmentation import BASELINES, make_base, make_baseline
from dabo_ray.assembly.check_network import check_network
from dabo_ray.assembly.classifier import make_objective, make_task
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
        ImportedError: a network of the user's own, or of timm, cannot be made, or augmentation not learned with it.
    """
    for arm in study.arms.values():
        if arm.name in BASELINES:
            make_baseline(arm, pools.num_classes)
    make_base(study.augmenter, pools.num_classes)
    config = study.classifier
    if not (config.weights or config.is_given):
        return
    # The images only say how to standardise, and what the network can do with them.
    few = replace(pools, labelled=pools.labelled.take(torch.arange(min(FEW, len(pools.labelled)))))
    task = make_task(study, pools.num_classes)
    objective = make_objective(config, task, few, study.seed, torch.device("cpu"))
    if config.is_given:
        workers = 1 if study.resources.workers == "local" else study.resources.workers
        images = few.sample[: max(1, config.batch_size // workers)].float() / 255
        labels = few.labelled.targets(torch.arange(len(images)))
        check_network(objective, images, labels, pools.num_classes, config.label)
