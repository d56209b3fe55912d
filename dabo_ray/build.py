"""From a checked study file to objects: the only place where settings meet classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dabo_ray.augment.augmenters import AUGMENTERS
from dabo_ray.augment.fixed import FIXED, FixedAugmentation
from dabo_ray.augment.learned import Augmenter, Frozen
from dabo_ray.bilevel.collectives import Collective, OneWorker
from dabo_ray.bilevel.inner import Sgd, step_size_factor
from dabo_ray.bilevel.loop import Schedule, Training
from dabo_ray.bilevel.outer import Outer
from dabo_ray.bilevel.shrinkage import ShrunkAdam
from dabo_ray.config import Augmenter as AugmenterConfig
from dabo_ray.config import Classifier as ClassifierConfig
from dabo_ray.config import Study
from dabo_ray.data.loader import Batches, Share
from dabo_ray.data.shift import Shift
from dabo_ray.data.sources import load
from dabo_ray.data.splits import Pools, make_pools
from dabo_ray.models.imagenet import imagenet_resnet
from dabo_ray.models.normalize import Normalize
from dabo_ray.models.resnet import CifarResNet
from dabo_ray.models.small_cnn import SmallCnn
from dabo_ray.models.wide_resnet import WideResNet
from dabo_ray.seeds import derive
from dabo_ray.trials import FROZEN, LEARNED, Phase, Trial

TEST_FRACTION = 0.25
"""Held out of a data set that has no published test set, unless the study file says otherwise."""

CLASSIFIERS: dict[str, Callable[[ClassifierConfig, tuple[int, int, int], int], nn.Module]] = {
    "small_cnn": lambda config, shape, classes: SmallCnn(shape, classes, config.width),
    "resnet18": lambda config, shape, classes: CifarResNet(shape[0], classes),
    "resnet34": lambda config, shape, classes: CifarResNet(shape[0], classes, (3, 4, 6, 3)),
    "resnet50": lambda config, shape, classes: CifarResNet(shape[0], classes, (3, 4, 6, 3), bottleneck=True),
    "wide_resnet_40_2": lambda config, shape, classes: WideResNet(shape[0], classes, depth=40, widen=2),
    "wide_resnet_28_10": lambda config, shape, classes: WideResNet(shape[0], classes, depth=28, widen=10),
    "resnet18_imagenet": lambda config, shape, classes: imagenet_resnet(
        "resnet18", shape[0], classes, Path(config.weights) if config.weights else None
    ),
    "resnet50_imagenet": lambda config, shape, classes: imagenet_resnet(
        "resnet50", shape[0], classes, Path(config.weights) if config.weights else None
    ),
}

OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], AugmenterConfig], torch.optim.Optimizer]] = {
    "shrunk_adam": lambda groups, config: ShrunkAdam(groups, config.lr),
    "adam": lambda groups, config: torch.optim.Adam(groups, config.lr, weight_decay=config.weight_decay),
    "sgd": lambda groups, config: torch.optim.SGD(groups, config.lr, momentum=0.9, weight_decay=config.weight_decay),
}

RANDOM = "random_augmenter"


def make_study_pools(study: Study) -> Pools:
    """Reads and divides the study's data.

    Raises:
        DataError: the data set is missing or damaged, or too small for the fractions.
    """
    data = study.data
    return make_pools(
        load(data.name, Path(data.root)),
        seed=study.seed,
        select_fraction=data.select_fraction,
        test_fraction=data.test_fraction or TEST_FRACTION,
        num_labels=data.num_labels,
        shift=Shift(**data.shift.model_dump()),
    )


def make_training(
    study: Study,
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
    sgd = Sgd(momentum=config.momentum, weight_decay=config.weight_decay, nesterov=config.nesterov)
    if trial.method == FROZEN:
        assert learned is not None
        augmentation: FixedAugmentation | Augmenter = Frozen(learned.to(device))
    else:
        augmentation = make_augmentation(study, trial.method, trial.seed, device, pools.num_classes)
    fit = Batches(roles.fit, config.batch_size, derive(trial.seed, "batches"), share, device)
    outer = None
    if roles.outer is not None and isinstance(augmentation, Augmenter):
        num_updates = max(1, trial.epochs * len(fit) // study.bilevel.inner_steps)
        outer = Outer(
            augmentation,
            Batches(roles.outer, config.batch_size, derive(trial.seed, "outer batches"), share, device),
            inner_steps=study.bilevel.inner_steps,
            truncation=study.bilevel.truncation,
            sgd=sgd,
            make_optimizer=lambda augmenter: OPTIMIZERS[study.augmenter.optimizer](
                augmenter.groups(study.augmenter.lr), study.augmenter
            ),
            step_factor=lambda update: step_size_factor(study.augmenter.schedule, update / num_updates),
            collective=collective,
        )
    return Training(
        make_classifier(config, pools, trial.seed, device),
        augmentation,
        outer=outer,
        fit=fit,
        score=roles.score,
        score_name="test_accuracy" if trial.phase is Phase.FINAL else "select_accuracy",
        schedule=Schedule(epochs=trial.epochs, lr=config.lr, shape=config.schedule),
        sgd=sgd,
        seed=trial.seed,
        collective=collective,
    )


def make_classifier(config: ClassifierConfig, pools: Pools, seed: int, device: torch.device) -> nn.Module:
    """The network with its first weights, standardising its inputs by the labelled images."""
    images = pools.labelled.images
    with _seeded(derive(seed, "classifier")):
        network = CLASSIFIERS[config.name](config, tuple(images.shape[1:]), pools.num_classes)  # type: ignore[arg-type]
    memory_format = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    return nn.Sequential(Normalize.of(images), network).to(device, memory_format=memory_format)  # type: ignore[call-overload,no-any-return]


def make_augmentation(
    study: Study, method: str, seed: int, device: torch.device, num_classes: int
) -> FixedAugmentation | Augmenter:
    """The augmentation of a trial: an augmenter to learn, the same untrained, or a hand-made one."""
    if method not in (LEARNED, RANDOM):
        return FIXED[method]()
    with _seeded(derive(seed, "augmenter")):
        augmenter = make_augmenter(study.augmenter, num_classes).to(device)
    return augmenter if method == LEARNED else Frozen(augmenter)


def make_augmenter(config: AugmenterConfig, num_classes: int) -> Augmenter:
    """The augmenter of the settings, with weights from torch's generator."""
    return AUGMENTERS[config.name](
        config.noise,
        config.hidden,
        depth=config.depth,
        centred=config.centre == "identity",
        dropout=config.dropout,
        operations=config.operations,
        conditioning=config.conditioning,
        num_classes=num_classes,
    )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Layers draw their first weights from torch's generator of the CPU: seed it for them, then put it back."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
