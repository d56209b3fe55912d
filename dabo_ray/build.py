"""From a checked study file to objects: the only place where settings meet classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dabo_ray.augment.augmenters import AUGMENTERS
from dabo_ray.augment.augmix import AugMix
from dabo_ray.augment.autoaugment import AutoAugment
from dabo_ray.augment.automated import RandAugment, TrivialAugmentWide
from dabo_ray.augment.erasing import Cutout, RandomErasing
from dabo_ray.augment.fast_autoaugment import PolicyAugmentation
from dabo_ray.augment.fixed import Compose, FixedAugmentation, Identity
from dabo_ray.augment.geometric import Crop, Flip, FlipCrop, RandomAffine
from dabo_ray.augment.jitter import ColorJitter
from dabo_ray.augment.learned import Augmenter, Frozen
from dabo_ray.augment.mixing import CutMix, Mixup
from dabo_ray.augment.policy_file import read_policy
from dabo_ray.bilevel.collectives import Collective, OneWorker
from dabo_ray.bilevel.direct import Direct
from dabo_ray.bilevel.estimator import Estimator
from dabo_ray.bilevel.hypergradient import Hypergradient, adjoint_hypergradient
from dabo_ray.bilevel.inner import Sgd
from dabo_ray.bilevel.learner import Learner
from dabo_ray.bilevel.loop import Training
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.outer import Outer
from dabo_ray.bilevel.schedule import Schedule, step_size_factor
from dabo_ray.bilevel.shrinkage import ShrunkAdam
from dabo_ray.bilevel.unrolled import unrolled_hypergradient
from dabo_ray.config import Augmenter as AugmenterConfig
from dabo_ray.config import Bilevel, Data, Study
from dabo_ray.config import Classifier as ClassifierConfig
from dabo_ray.config.baselines import Settings, arm_of
from dabo_ray.data.loader import Batches, Share
from dabo_ray.data.shift import Shift
from dabo_ray.data.sources import Reading, load
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


def _plain_groups(augmenter: Augmenter, lr: float) -> list[dict[str, Any]]:
    return [{"params": group["params"], "lr": group["lr"]} for group in augmenter.groups(lr)]


ENGINES: dict[str, Hypergradient] = {"adjoint": adjoint_hypergradient, "unrolled": unrolled_hypergradient}

RANDOM = "random_augmenter"
STN = "stn"
ADVERSARIAL = "adversarial"
LEARNING = (LEARNED, STN, ADVERSARIAL)
"""Methods whose augmenter is learned while the classifier is trained."""

BASELINES: dict[str, Callable[..., FixedAugmentation]] = {
    "none": lambda classes: Identity(),
    "flip": lambda classes, **settings: Flip(**settings),
    "crop": lambda classes, **settings: Crop(**settings),
    "flip_crop": lambda classes, **settings: FlipCrop(**settings),
    "affine": lambda classes, **settings: RandomAffine(**settings),
    "color_jitter": lambda classes, **settings: ColorJitter(**settings),
    "cutout": lambda classes, **settings: Cutout(**settings),
    "random_erasing": lambda classes, **settings: RandomErasing(**settings),
    "autoaugment": lambda classes, **settings: AutoAugment(**settings),
    "randaugment": lambda classes, **settings: RandAugment(**settings),
    "trivialaugment": lambda classes: TrivialAugmentWide(),
    "augmix": lambda classes, **settings: AugMix(**settings),
    "mixup": Mixup,
    "cutmix": CutMix,
    "policy_file": lambda classes, path: PolicyAugmentation(read_policy(Path(path))),
    "compose": lambda classes, steps: Compose([make_baseline(arm_of(step), classes) for step in steps]),
}
"""Each takes the number of classes and the settings of its section by name."""


def make_study_pools(study: Study) -> Pools:
    """Reads and divides the study's data.

    Raises:
        DataError: the data set is missing or damaged, or too small for the fractions.
    """
    data = study.data
    return make_pools(
        load(data.name, data.root, reading(data)),
        seed=study.seed,
        select_fraction=data.select_fraction,
        test_fraction=data.test_fraction or TEST_FRACTION,
        num_labels=data.num_labels,
        shift=Shift(**data.shift.model_dump()),
    )


def reading(data: Data) -> Reading:
    """How the study's data set is read."""
    streaming = None if data.streaming == "auto" else data.streaming == "always"
    return Reading(cache=data.cache, image_size=data.image_size, streaming=streaming, fold=data.fold)


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
    if trial.method == FROZEN:
        assert learned is not None
        augmentation: FixedAugmentation | Augmenter = Frozen(learned.to(device))
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
        learner=learner,
        fit=fit,
        score=roles.score,
        score_name="test_accuracy" if trial.phase is Phase.FINAL else "select_accuracy",
        schedule=Schedule(epochs=trial.epochs, lr=config.lr, shape=config.schedule, warmup_epochs=config.warmup_epochs),
        sgd=sgd,
        seed=trial.seed,
        collective=collective,
    )


def make_sgd(config: ClassifierConfig, bilevel: Bilevel) -> Sgd:
    """The classifier's update rule, and how it is differentiated."""
    return Sgd(
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.nesterov,
        clip_norm=config.clip_norm,
        hold_length=bilevel.differentiate == "direction",
    )


def make_learner(
    config: AugmenterConfig,
    bilevel: Bilevel,
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


def make_estimator(config: Bilevel, augmenter: Augmenter, share: Share) -> Estimator | None:
    """Which images stand for an update in the hypergradient; None for its own."""
    assert config.mixed_batch_fraction is not None
    if config.mixed_batch_fraction == 1 and not config.antithetic:
        return None
    mirrored = augmenter.mirrored if config.antithetic else None
    return Estimator(share=share, fraction=config.mixed_batch_fraction, mirrored=mirrored)


def make_classifier(config: ClassifierConfig, pools: Pools, seed: int, device: torch.device) -> nn.Module:
    """The network with its first weights, standardising its inputs by the labelled images."""
    with _seeded(derive(seed, "classifier")):
        network = CLASSIFIERS[config.name](config, pools.labelled.shape, pools.num_classes)
    if config.dropout:
        # torchvision names the last layer `fc`.
        last = "fc" if hasattr(network, "fc") else "head"
        setattr(network, last, nn.Sequential(nn.Dropout(config.dropout), getattr(network, last)))
    memory_format = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    return nn.Sequential(Normalize.of(pools.sample), network).to(device, memory_format=memory_format)  # type: ignore[call-overload,no-any-return]


def check_files(study: Study, pools: Pools) -> None:
    """Reads what the study names beside its data, so that a wrong file is told now and not by the first trial.

    Raises:
        PolicyError: the file of a policy cannot be read or holds none.
        WeightsError: the pretrained weights cannot be read, or are those of another network.
    """
    for arm in study.arms.values():
        if arm.name in BASELINES:
            make_baseline(arm, pools.num_classes)
    if study.classifier.weights:
        make_classifier(study.classifier, pools, study.seed, torch.device("cpu"))


def make_augmentation(
    study: Study, method: str, seed: int, device: torch.device, num_classes: int
) -> FixedAugmentation | Augmenter:
    """The augmentation of a trial: an augmenter to learn, the same untrained, or a hand-made one.

    Raises:
        PolicyError: the file of a policy cannot be read or holds none.
    """
    if method not in (*LEARNING, RANDOM):
        return make_baseline(study.arms[method], num_classes)
    with _seeded(derive(seed, "augmenter")):
        augmenter = make_augmenter(study.augmenter, num_classes).to(device)
    return Frozen(augmenter) if method == RANDOM else augmenter


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


def make_baseline(arm: Settings, num_classes: int) -> FixedAugmentation:
    """A hand-made augmentation with its settings."""
    settings = {key: getattr(arm, key) for key in type(arm).model_fields if key not in ("name", "label")}
    return BASELINES[arm.name](num_classes, **settings)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Layers draw their first weights from torch's generator of the CPU: seed it for them, then put it back."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
