"""A study file for images that nobody has studied yet: settings by their number, their sizes and the machine."""

from __future__ import annotations

import json
import math
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZES_ON_CPU, SIZES_ON_GPU = (32, 48, 64), (32, 48, 64, 96, 128)
"""Sides of images, in pixels, for networks that begin with random weights."""

SIDE_OF_PRETRAINED = {"cpu": 64, "cuda": 224}
UPDATES = 1000
"""Of the classifier in a training, about: so many tell which augmentation helps."""

FEWEST_EPOCHS, MOST_EPOCHS = 10, 100
SMALL, MOST_LABELS_ON_CPU = 1000, 5000
"""Labelled images."""

LETTERS = 100
"""Of a line of a comment."""

IMBALANCED = 3.0
"""The largest class over the smallest one."""


@dataclass(frozen=True)
class Found:
    """What is known of the images, and of the machine, before the study."""

    place: str
    """Where they are."""

    source: str
    """Kind of data set, as `data.name`."""

    classes: Mapping[str, int]
    """Labelled images of each."""

    sizes: Mapping[tuple[int, int], int]
    """(width, height) of the files that were looked at, and how many have it."""

    has_test: bool
    """Whether there is a test set beside the labelled images."""

    has_gpu: bool
    weights: Path | None
    """Of torchvision's ResNet-18, trained on ImageNet."""

    @property
    def num_images(self) -> int:
        """All labelled images."""
        return sum(self.classes.values())

    @property
    def imbalance(self) -> float:
        """The largest class over the smallest one."""
        return max(self.classes.values()) / max(1, min(self.classes.values()))


@dataclass(frozen=True)
class Choice:
    """Settings of one line of a study file."""

    key: str
    value: Any
    reason: str


def suggest(found: Found) -> list[Choice]:
    """Settings for the images, each with its reason."""
    device = "cuda" if found.has_gpu else "cpu"
    data, why_data = _data(found, device)
    labelled = min(found.num_images, data.get("num_labels", found.num_images))
    if not found.has_test:
        labelled = round(0.75 * labelled) if "num_labels" not in data else labelled
    classifier, why_classifier = _classifier(found, labelled)
    objective = {f"select_{_judge(found)}": "maximize"}
    choices = [
        Choice("data", data, why_data),
        Choice("classifier", classifier, why_classifier),
        Choice("augmenter", {"name": "affine"}, "turns, scales, shears and moves images; affine_color has colours too"),
        Choice(
            "search",
            {"trials": 3, "objective": objective, "space": {"augmenter.hidden": {"choice": [16, 32, 128]}}},
            f"settings are judged by {_judge(found).replace('_', ' ')}, since the largest class has "
            f"{found.imbalance:.1f} times the images of the smallest one",
        ),
        Choice(
            "baselines",
            ["none", "flip", "flip_crop", "affine", "trivialaugment", "random_augmenter"],
            "what the learned augmentation is compared with",
        ),
        Choice("final", {"top": 1, "seeds": 5}, "trainings of each arm that are scored on the test images"),
    ]
    if found.has_gpu:
        choices.append(Choice("resources", {"gpus_per_worker": 1}, "a GPU was found"))
    return choices


def _data(found: Found, device: str) -> tuple[dict[str, Any], str]:
    data: dict[str, Any] = {"name": found.source, "root": found.place}
    side, reason = _image_size(found, device)
    if side:
        data["image_size"] = side
    most = max(MOST_LABELS_ON_CPU, 50 * len(found.classes))
    if not found.has_gpu and found.num_images > most * 4 / 3:
        data["num_labels"] = most
        reason += f"; {most:,} of {found.num_images:,} labels are enough to choose by on CPUs"
    few = min(found.num_images, most) < SMALL
    return data | {"outer_fraction": 0.25 if few else 0.2, "select_fraction": 0.15 if few else 0.1}, reason


def _image_size(found: Found, device: str) -> tuple[int | None, str]:
    """Side to which images are brought, None for as they are; and why."""
    short = round(statistics.median(min(size) for size, times in found.sizes.items() for _ in range(times)))
    if found.weights and short >= SIDE_OF_PRETRAINED["cpu"]:
        side = min(SIDE_OF_PRETRAINED[device], short // 32 * 32)
        return side, f"of {short} pixels, {side} are what the pretrained network takes on this machine"
    if len(found.sizes) == 1 and max(next(iter(found.sizes))) <= SIZES_ON_CPU[-1]:
        return None, f"all images have one size and {short} pixels on their short side, which stay as they are"
    sizes = SIZES_ON_GPU if device == "cuda" else SIZES_ON_CPU
    side = max((size for size in sizes if size <= short), default=max(8, short))
    return side, f"of {short} pixels on the short side, {side} are quick on {'a GPU' if device == 'cuda' else 'CPUs'}"


def _classifier(found: Found, labelled: int) -> tuple[dict[str, Any], str]:
    pretrained = found.weights is not None and "resnet18_imagenet"
    batch_size = 32 if labelled < SMALL else 64 if labelled < 20 * SMALL else 128
    updates_of_epoch = math.ceil(0.6 * labelled / batch_size)
    epochs = min(max(math.ceil(UPDATES / updates_of_epoch), FEWEST_EPOCHS), MOST_EPOCHS)
    told = f"{epochs} epochs of about {updates_of_epoch} updates each"
    side, _ = _image_size(found, "cuda" if found.has_gpu else "cpu")
    if pretrained and side:
        settings = {"name": pretrained, "weights": str(found.weights), "lr": 0.01}
        return settings | {"epochs": epochs, "batch_size": batch_size}, f"weights of ImageNet are here; {told}"
    if found.has_gpu and labelled >= 2 * SMALL:
        return {"name": "resnet18", "lr": 0.1, "epochs": epochs, "batch_size": batch_size}, f"a GPU is here; {told}"
    return {"name": "small_cnn", "lr": 0.1, "epochs": epochs, "batch_size": batch_size}, told


def _judge(found: Found) -> str:
    return "accuracy" if found.imbalance < IMBALANCED else "balanced_accuracy"


def study_text(study: str, found: Found, choices: Sequence[Choice], told: Sequence[str]) -> str:
    """The study file, with a comment for each of its lines.

    Args:
        study: name of the study.
        found: of which images.
        choices: their settings.
        told: more lines for its leading comment.
    """
    head = [
        f"Question: which augmentation should be used on the images of {Path(found.place).name}?",
        "",
        *told,
        "Every key is explained in docs/reference.md.",
    ]
    lines = [*_comment(head), f"study: {study}", "seed: 0"]
    for choice in choices:
        reason = f"{choice.reason[0].upper()}{choice.reason[1:]}."
        lines += [*_comment([reason]), f"{choice.key}: {_flow(choice.value)}"]
    return "\n".join(lines) + "\n"


def _comment(texts: Sequence[str]) -> list[str]:
    return [f"# {line}".rstrip() for text in texts for line in textwrap.wrap(text, LETTERS) or [""]]


def _flow(value: Any) -> str:
    """A value as YAML in one line; what JSON calls text is text in YAML too."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and value.isidentifier():
        return value
    return json.dumps(value)
