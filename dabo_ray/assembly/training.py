"""The training run of a trial, out of its data, its classifier and its augmentation."""

from __future__ import annotations

import torch

from dabo_ray.assembly.augmentation import make_augmentation, make_base
from dabo_ray.assembly.classifier import make_objective, make_schedule, make_sgd, make_task
from dabo_ray.assembly.data import make_data
from dabo_ray.assembly.learner import make_learner
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.bilevel.training import Training
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.splits import Pools
from dabo_ray.trials import Phase, Trial
from dabo_ray.workers import Workers


def make_training(
    study: StudyConfig,
    trial: Trial,
    pools: Pools,
    *,
    workers: Workers = Workers(),
    device: torch.device = torch.device("cpu"),
    learned: Augmenter | None = None,
) -> Training:
    """The training run of a trial.

    Args:
        study: with the trial's settings applied.
        trial: method, phase, seed and epochs.
        pools: the study's images.
        workers: that share the batches.
        device: where it is trained.
        learned: for a frozen trial, the augmenter that its origin learned.
    """
    data = make_data(study, trial, pools, workers, device)
    augmentation = make_augmentation(study, trial, device, pools.num_classes, learned)
    learner = None
    if isinstance(augmentation, Augmenter):
        learner = make_learner(study, trial, augmentation, data, workers)
    task = make_task(study, pools.num_classes)
    return Training(
        make_objective(study.classifier, task, pools, trial.seed, device),
        task,
        augmentation,
        base=make_base(study.augmenter, pools.num_classes).to(device),
        learner=learner,
        fit=data.fit,
        score=data.score,
        part="test" if trial.phase is Phase.FINAL else "select",
        schedule=make_schedule(study.classifier, trial.epochs),
        sgd=make_sgd(study.classifier, study.bilevel),
        seed=trial.seed,
        workers=workers,
    )
