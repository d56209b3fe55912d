"""Learner of a trial's augmenter, with its optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dabo_ray.assembly.augmentation import ADVERSARIAL
from dabo_ray.assembly.data import TrialData
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.bilevel.estimator import Estimator
from dabo_ray.bilevel.hypergradient import Engine, adjoint_hypergradient
from dabo_ray.bilevel.learner import Learner
from dabo_ray.bilevel.readiness import Readiness
from dabo_ray.bilevel.schedule import lr_factor
from dabo_ray.bilevel.shrunk_adam import ShrunkAdam
from dabo_ray.bilevel.step import OuterLossLearner
from dabo_ray.bilevel.training_loss import TrainingLossLearner
from dabo_ray.bilevel.unrolled import unrolled_hypergradient
from dabo_ray.config.schema import AugmenterConfig, BilevelConfig, StudyConfig
from dabo_ray.trials import Trial
from dabo_ray.workers import Workers

OPTIMIZERS: dict[str, Callable[[Augmenter, AugmenterConfig, int], torch.optim.Optimizer]] = {
    "shrunk_adam": lambda augmenter, config, num_updates: ShrunkAdam.for_augmenter(augmenter, num_updates, config.lr),
    "adam": lambda augmenter, config, _: torch.optim.Adam(
        _plain_groups(augmenter, config.lr or 0.01), weight_decay=config.weight_decay
    ),
    "sgd": lambda augmenter, config, _: torch.optim.SGD(
        _plain_groups(augmenter, config.lr or 0.2), momentum=0.9, weight_decay=config.weight_decay
    ),
}
"""Name in a study file -> optimiser of an augmenter, by the number of its updates."""

ENGINES: dict[str, Engine] = {"adjoint": adjoint_hypergradient, "unrolled": unrolled_hypergradient}


def make_learner(study: StudyConfig, trial: Trial, augmenter: Augmenter, data: TrialData, workers: Workers) -> Learner:
    """What updates the augmenter: the outer problem if there are images for it, else the training loss."""
    config = study.augmenter
    num_steps = trial.epochs * len(data.fit)
    bilevel = study.bilevel.for_training(num_steps)
    assert bilevel.inner_steps is not None
    # The other methods learn from the training loss, which says what they need from the first update on.
    warmup = 0 if data.outer is None else round(bilevel.warmup_fraction * num_steps)
    num_updates = max(1, (num_steps - warmup) // bilevel.inner_steps)
    options: dict[str, Any] = {
        "inner_steps": bilevel.inner_steps,
        "optimizer": OPTIMIZERS[config.optimizer](augmenter, config, num_updates),
        "lr_factor": lambda update: lr_factor(config.schedule, update / num_updates),
        "warmup": warmup,
        "workers": workers,
    }
    if data.outer is None:
        budget = config.budget if trial.method == ADVERSARIAL else None
        return TrainingLossLearner(augmenter, budget=budget, **options)
    return OuterLossLearner(
        augmenter,
        data.outer,
        readiness=None if bilevel.warmup_loss is None else Readiness(bilevel.warmup_loss, warmup),
        truncation=bilevel.truncation,
        engine=ENGINES[bilevel.engine],
        estimator=make_estimator(bilevel, augmenter, workers),
        **options,
    )


def make_estimator(config: BilevelConfig, augmenter: Augmenter, workers: Workers) -> Estimator | None:
    """Which images stand for an update in the hypergradient; None for its own."""
    assert config.mixed_batch_fraction is not None
    if config.mixed_batch_fraction == 1 and not config.antithetic:
        return None
    antithetic = augmenter.antithetic if config.antithetic else None
    return Estimator(workers=workers, fraction=config.mixed_batch_fraction, antithetic=antithetic)


def _plain_groups(augmenter: Augmenter, lr: float) -> list[dict[str, Any]]:
    return [{"params": group["params"], "lr": group["lr"]} for group in augmenter.groups(lr)]
