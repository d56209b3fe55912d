"""The classifier of a study, its loss, its update rule and its learning rates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from dabo_ray.assembly.first_weights import seeded
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.schedule import Schedule
from dabo_ray.bilevel.sgd import Sgd
from dabo_ray.bilevel.task import Task, classification, segmentation
from dabo_ray.config.schema import BilevelConfig, ClassifierConfig, StudyConfig
from dabo_ray.data.splits import Pools
from dabo_ray.models.given import TIMM, imported_network, timm_network
from dabo_ray.models.imagenet import imagenet_resnet
from dabo_ray.models.normalize import Normalize
from dabo_ray.models.pretrained import last_layer, load_pretrained
from dabo_ray.models.resnet import CifarResNet
from dabo_ray.models.small_cnn import SmallCnn
from dabo_ray.models.unet import UNet
from dabo_ray.models.wide_resnet import WideResNet
from dabo_ray.seeds import derive

CLASSIFIERS: dict[str, Callable[[ClassifierConfig, tuple[int, int, int], int], nn.Module]] = {
    "small_cnn": lambda config, shape, classes: SmallCnn(shape, classes, config.width),
    "resnet18": lambda config, shape, classes: CifarResNet(shape[0], classes),
    "resnet34": lambda config, shape, classes: CifarResNet(shape[0], classes, (3, 4, 6, 3)),
    "resnet50": lambda config, shape, classes: CifarResNet(shape[0], classes, (3, 4, 6, 3), bottleneck=True),
    "wide_resnet_40_2": lambda config, shape, classes: WideResNet(shape[0], classes, depth=40, widen=2),
    "wide_resnet_28_10": lambda config, shape, classes: WideResNet(shape[0], classes, depth=28, widen=10),
    "resnet18_imagenet": lambda config, shape, classes: imagenet_resnet("resnet18", shape[0], classes),
    "resnet50_imagenet": lambda config, shape, classes: imagenet_resnet("resnet50", shape[0], classes),
    "unet": lambda config, shape, classes: UNet(shape[0], classes, config.width),
}


def make_classifier(config: ClassifierConfig, pools: Pools, seed: int, device: torch.device) -> nn.Module:
    """The network with its first weights, standardising its inputs by the labelled images.

    Raises:
        WeightsError: the pretrained weights cannot be read, or are those of another network.
        ImportedError: a network of the user's own, or of timm, cannot be made.
    """
    with seeded(derive(seed, "classifier")):
        network = _network(config, pools.labelled.shape, pools.num_classes)
    if config.weights:
        load_pretrained(network, Path(config.weights))
    if config.dropout:
        last = last_layer(network)
        network.set_submodule(last, nn.Sequential(nn.Dropout(config.dropout), network.get_submodule(last)))
    memory_format = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    return nn.Sequential(Normalize.of(pools.sample), network).to(device, memory_format=memory_format)  # type: ignore[call-overload,no-any-return]


def _network(config: ClassifierConfig, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    if config.imported:
        return imported_network(config.imported, config.args, shape, num_classes)
    if config.name.startswith(TIMM):
        return timm_network(config.name, config.args, shape, num_classes)
    return CLASSIFIERS[config.name](config, shape, num_classes)


def make_task(study: StudyConfig, num_classes: int) -> Task:
    """What is asked of the classifier."""
    if study.task == "segmentation":
        return segmentation(num_classes, study.classifier.dice)
    return classification(num_classes, study.classifier.label_smoothing)


def make_objective(config: ClassifierConfig, task: Task, pools: Pools, seed: int, device: torch.device) -> Objective:
    """The classifier with its loss."""
    return Objective(
        make_classifier(config, pools, seed, device),
        task.criterion,
        least=task.least,
        bfloat16=config.precision == "bfloat16",
    )


def make_sgd(config: ClassifierConfig, bilevel: BilevelConfig) -> Sgd:
    """The classifier's update rule, and what is differentiated of it."""
    return Sgd.of(
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.nesterov,
        clip_norm=config.clip_norm,
        differentiate=bilevel.differentiate,
    )


def make_schedule(config: ClassifierConfig, epochs: int) -> Schedule:
    """The classifier's learning rates in a training of so many epochs."""
    return Schedule(
        epochs=epochs,
        lr=config.lr,
        shape=config.schedule,
        milestones=config.milestones,
        decay=config.decay,
        warmup_epochs=config.warmup_epochs,
    )
