"""Segmentation: the loss of (B, K, H, W) class scores by masks of K classes, and the scores of a classifier."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from dabo_ray.augment.masks import IGNORED, are_masks
from dabo_ray.augment.with_masks import class_planes
from dabo_ray.bilevel.evaluation import judged
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.sgd import Tensors
from dabo_ray.data.images import Images
from dabo_ray.workers import Workers

LEAST_MASS = 1.0
"""Pixels: the loss of an image with less than one whose class is known counts for less."""


class SegmentationLoss:
    """Cross entropy and soft Dice, of each image by itself, so that workers that share a batch can add them up.

    With shares t of the classes in a pixel and probabilities p, over the N = sum t pixels of an image that count:

        cross entropy   - sum t log p / N
        Dice            1 - mean over the classes k of (2 sum t_k p_k + 1) / (sum t_k + sum m p_k + 1),  m = sum_k t_k

    Both are smooth in p and in t, so that hypergradients flow through masks that are moved softly. Pixels that are
    ignored, or came from outside the image, have no shares.

    Args:
        num_classes: K.
        dice: part of the Dice loss in the whole, in [0, 1].

    Reference: Milletari et al. 2016 for Dice, in the form with sums of probabilities.
    """

    def __init__(self, num_classes: int, dice: float = 0.0) -> None:
        self.num_classes = num_classes
        self.dice = dice

    def __call__(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The loss summed over the images, a scalar.

        Args:
            scores: (B, K, H, W).
            labels: (B, H, W) masks, or (B, K, H, W) shares.
        """
        shares = class_planes(labels, self.num_classes, scores) if are_masks(labels) else labels
        logs = log_softmax(scores, 1)
        known = shares.sum((1, 2, 3))
        loss = -(shares * logs).sum((1, 2, 3)) / known.clamp(min=LEAST_MASS)
        if self.dice:
            loss = (1 - self.dice) * loss + self.dice * self._dice(logs.exp(), shares)
        return loss.sum()

    def _dice(self, probabilities: Tensor, shares: Tensor) -> Tensor:
        """(B,) Dice losses."""
        both = (shares * probabilities).sum((2, 3))
        counted = (probabilities * shares.sum(1, keepdim=True)).sum((2, 3))
        return 1 - ((2 * both + 1) / (shares.sum((2, 3)) + counted + 1)).mean(1)


@torch.no_grad()
def segmentation_scores(objective: Objective, weights: Tensors, images: Images, workers: Workers) -> dict[str, float]:
    """How well the pixels of images are classified; every worker judges its shard, and all must take part.

    Pixels are counted over all images. Classes that neither are there nor were said do not count.

    Returns:
        In percent: `mean_iou`, the mean of the classes' intersections over unions; `mean_dice`, of their Dice
        coefficients; `iou_<class>` and `dice_<class>` of each, by its number.
    """
    assert images.masks is not None
    objective.classifier.eval()
    confusion: Tensor | None = None
    for places, found in judged(objective, weights, images, workers):
        num_classes = found.shape[1]
        masks = images.read_masks(places).to(found.device)
        known = masks != IGNORED
        cells = masks[known].long() * num_classes + found.argmax(1)[known]
        counts = torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes).double()
        confusion = counts if confusion is None else confusion + counts
    assert confusion is not None
    (confusion,) = workers.sum([confusion])
    confusion = confusion.cpu()
    right, there, said = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    is_any = there + said > 0
    iou, dice = right / (there + said - right), 2 * right / (there + said)
    scores = {"mean_iou": 100 * float(iou[is_any].mean()), "mean_dice": 100 * float(dice[is_any].mean())}
    for number in torch.nonzero(is_any).flatten().tolist():
        scores |= {f"iou_{number}": 100 * float(iou[number]), f"dice_{number}": 100 * float(dice[number])}
    return scores
