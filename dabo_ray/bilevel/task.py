"""Task: what turns labels into a loss, and scores a classifier. The loop and the hypergradient know none by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch.nn.functional import cross_entropy

from dabo_ray.bilevel.evaluation import classification_scores
from dabo_ray.bilevel.objective import Criterion, Least, Objective, least_cross_entropy
from dabo_ray.bilevel.segmentation import SegmentationLoss, segmentation_scores
from dabo_ray.bilevel.sgd import Tensors
from dabo_ray.data.images import Images
from dabo_ray.workers import Workers

Judge = Callable[[Objective, Tensors, Images, Workers], dict[str, float]]
"""(objective, weights, images, workers) -> scores in percent, by name; all workers take part."""


@dataclass(frozen=True)
class Task:
    """What is asked of a classifier."""

    criterion: Criterion
    least: Least | None
    """What the criterion can be at least; None: zero."""

    judge: Judge
    mask_classes: int | None = None
    """Classes of pixels, where labels are masks, which move with the images; None: labels are of whole images."""


def classification(num_classes: int, label_smoothing: float = 0.0) -> Task:
    """One class for each image, by cross entropy."""
    return Task(
        partial(cross_entropy, reduction="sum", label_smoothing=label_smoothing),
        partial(least_cross_entropy, num_classes=num_classes, label_smoothing=label_smoothing),
        classification_scores,
    )


def segmentation(num_classes: int, dice: float) -> Task:
    """A class for each pixel, by cross entropy and the soft Dice loss, see `SegmentationLoss`."""
    return Task(SegmentationLoss(num_classes, dice), None, segmentation_scores, num_classes)
