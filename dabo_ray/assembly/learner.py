"""What updates an augmenter while the classifier is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dabo_ray.assembly.augmentation import ADVERSARIAL
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.bilevel.collectives import Collective
from dabo_ray.bilevel.direct import Direct
from dabo_ray.bilevel.estimator import Estimator
from dabo_ray.bilevel.hypergradient import Hypergradient, adjoint_hypergradient
from dabo_ray.bilevel.inner import Sgd
from dabo_ray.bilevel.learner import Learner
from dabo_ray.bilevel.outer import Outer
from dabo_ray.bilevel.schedule import step_size_factor
from dabo_ray.bilevel.shrinkage import ShrunkAdam
from dabo_ray.bilevel.unrolled import unrolled_hypergradient
from dabo_ray.config.schema import AugmenterConfig, BilevelConfig
from dabo_ray.data.loader import Batches, Share

OPTIMIZERS: dict[str, Callable[[Augmenter, AugmenterConfig, int], torch.optim.Optimizer]] = {
    "shrunk_adam": lambda augmenter, config, num_updates: ShrunkAdam.over(
        augmenter.groups(config.lr or min(LARGEST_STEP, FULL_DISTANCE / num_updates)), num_updates
    ),
    "adam": lambda augmenter, config, _: torch.optim.Adam(
        _plain_groups(augmenter, config.lr or 0.01), weight_decay=config.weight_decay
    ),
    "sgd": lambda augmenter, config, _: torch.optim.SGD(
        _plain_groups(augmenter, config.lr or 0.2), momentum=0.9, weight_decay=config.weight_decay
    ),
}
"""Name in a study file -> optimiser of an augmenter, by the number of its updates."""

FULL_DISTANCE = 80.0
"""How far `shrunk_adam` would take a logarithm of a spread in a whole training of largest steps ..."""

LARGEST_STEP = 0.1
"""... none of which changes a spread by more than this, however few there are."""

ENGINES: dict[str, Hypergradient] = {"adjoint": adjoint_hypergradient, "unrolled": unrolled_hypergradient}


def make_learner(
    config: AugmenterConfig,
    bilevel: BilevelConfig,
    method: str,
    augmenter: Augmenter,
    outer: Batches | None,
    sgd: Sgd,
    *,
    num_steps: int,
    share: Share,
    collective: Collective,
) -> Learner:
    """What updates the augmenter: the outer problem if there are images for it, else the training loss.

    Args:
        config: of the augmenter.
        bilevel: with numbers for what is null.
        method: of the trial.
        augmenter: to be learned.
        outer: outer images.
        sgd: the classifier's update rule.
        num_steps: updates of the classifier over the whole training.
        share: this worker's part of every batch.
        collective: sums over the workers.
    """
    assert bilevel.inner_steps is not None
    num_updates = max(1, num_steps // bilevel.inner_steps)

    def make_optimizer(augmenter: Augmenter) -> torch.optim.Optimizer:
        return OPTIMIZERS[config.optimizer](augmenter, config, num_updates)

    def step_factor(update: int) -> float:
        return step_size_factor(config.schedule, update / num_updates)

    if outer is None:
        return Direct(
            augmenter,
            budget=config.budget if method == ADVERSARIAL else None,
            inner_steps=bilevel.inner_steps,
            make_optimizer=make_optimizer,
            step_factor=step_factor,
            collective=collective,
        )
    return Outer(
        augmenter,
        outer,
        inner_steps=bilevel.inner_steps,
        truncation=bilevel.truncation,
        sgd=sgd,
        make_optimizer=make_optimizer,
        step_factor=step_factor,
        collective=collective,
        hypergradient=ENGINES[bilevel.engine],
        estimator=make_estimator(bilevel, augmenter, share),
    )


def make_estimator(config: BilevelConfig, augmenter: Augmenter, share: Share) -> Estimator | None:
    """Which images stand for an update in the hypergradient; None for its own."""
    assert config.mixed_batch_fraction is not None
    if config.mixed_batch_fraction == 1 and not config.antithetic:
        return None
    mirrored = augmenter.antithetic if config.antithetic else None
    return Estimator(share=share, fraction=config.mixed_batch_fraction, mirrored=mirrored)


def _plain_groups(augmenter: Augmenter, lr: float) -> list[dict[str, Any]]:
    return [{"params": group["params"], "lr": group["lr"]} for group in augmenter.groups(lr)]
