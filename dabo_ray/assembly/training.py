"""The training run of a trial."""

from __future__ import annotations

import torch

from dabo_ray.assembly.augmentation import make_augmentation, make_base
from dabo_ray.assembly.classifier import make_classifier, make_schedule, make_sgd
from dabo_ray.assembly.learner import make_learner
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.fixed import FixedAugmentation
from dabo_ray.augment.frozen import FrozenAugmenter
from dabo_ray.bilevel.collectives import Collective, OneWorker
from dabo_ray.bilevel.loop import Training
from dabo_ray.bilevel.objective import Objective
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.loader import Batches, Share
from dabo_ray.data.splits import Pools
from dabo_ray.seeds import derive
from dabo_ray.trials import FROZEN, LEARNED, Phase, Trial


def make_training(
    study: StudyConfig,
    trial: Trial,
    pools: Pools,
    *,
    share: Share = Share(),
    device: torch.device = torch.device("cpu"),
    collective: Collective | None = None,
    learned: Augmenter | None = None,
) -> Training:
    """The training run of a trial.

    Args:
        study: with the trial's settings applied.
        trial: method, phase, seed and epochs.
        pools: the study's images.
        share: this worker's part of every batch.
        device: where it is trained.
        collective: sums over the workers; None for one worker.
        learned: for a frozen trial, the augmenter that its origin learned.
    """
    collective = collective or OneWorker()
    config = study.classifier
    roles = pools.roles(
        learned=trial.method == LEARNED,
        final=trial.phase is Phase.FINAL,
        outer_fraction=study.data.outer_fraction,
        seed=trial.seed,
    )
    if trial.method == FROZEN:
        assert learned is not None
        augmentation: FixedAugmentation | Augmenter = FrozenAugmenter(learned.to(device))
    else:
        augmentation = make_augmentation(study, trial.method, trial.seed, device, pools.num_classes)
    sgd = make_sgd(config, study.bilevel)
    fit = Batches(roles.fit, config.batch_size, derive(trial.seed, "batches"), share, device)
    learner = None
    if isinstance(augmentation, Augmenter):
        bilevel = study.bilevel.for_training(trial.epochs * len(fit))
        outer = None
        if roles.outer is not None:
            # A batch has an image for every worker, and two for statistics.
            size = max(2, share.world_size, round(bilevel.outer_batch_fraction * config.batch_size))
            outer = Batches(roles.outer, size, derive(trial.seed, "outer batches"), share, device)
        learner = make_learner(
            study.augmenter,
            bilevel,
            trial.method,
            augmentation,
            outer,
            sgd,
            num_steps=trial.epochs * len(fit),
            share=share,
            collective=collective,
        )
    return Training(
        Objective(
            make_classifier(config, pools, trial.seed, device),
            label_smoothing=config.label_smoothing,
            bfloat16=config.precision == "bfloat16",
        ),
        augmentation,
        base=make_base(study.augmenter, pools.num_classes).to(device),
        learner=learner,
        fit=fit,
        score=roles.score,
        score_name="test_accuracy" if trial.phase is Phase.FINAL else "select_accuracy",
        schedule=make_schedule(config, trial.epochs),
        sgd=sgd,
        seed=trial.seed,
        collective=collective,
    )
