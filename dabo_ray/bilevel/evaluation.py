"""Scores of a classifier on images; patches of an image vote for its class."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dabo_ray.augment.functional import to_unit
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.sgd import Tensors
from dabo_ray.data.images import Images
from dabo_ray.data.loader import in_order
from dabo_ray.workers import Workers

BATCH = 512
LARGE_SIDE = 64
"""Of images larger than this square, fewer are judged at once."""


@torch.no_grad()
def classification_scores(objective: Objective, weights: Tensors, images: Images, workers: Workers) -> dict[str, float]:
    """How well images are classified; every worker judges its shard, and all must take part.

    Patches (`images.wholes`) each vote for a class of their image, and the sum of their probabilities decides a tie.

    Returns:
        In percent: `accuracy`, images of which the class has the highest score; `balanced_accuracy`, the mean of the
        classes' recalls; `macro_f1`, the mean of their F1 scores. Classes without an image
        do not count, unless they were said, for the F1 scores.
    """
    objective.classifier.eval()
    counts = _of_images if images.wholes is None else _of_wholes
    confusion = counts(objective, weights, images, workers).cpu()
    right, there, said = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    recalls, f1 = right / there, 2 * right / (there + said)
    return {
        "accuracy": 100 * float(right.sum()) / float(there.sum()),
        "balanced_accuracy": 100 * float(recalls[there > 0].mean()),
        "macro_f1": 100 * float(f1[there + said > 0].mean()),
    }


def _of_images(objective: Objective, weights: Tensors, images: Images, workers: Workers) -> Tensor:
    """(classes, classes) images by their class, and by the one with the highest score."""
    confusion = None
    for places, found in judged(objective, weights, images, workers):
        confusion = _counted(confusion, images.labels[places].to(found.device), found)
    assert confusion is not None
    (confusion,) = workers.sum([confusion])
    return confusion


def _of_wholes(objective: Objective, weights: Tensors, images: Images, workers: Workers) -> Tensor:
    """The same of the images that patches are parts of."""
    assert images.wholes is not None
    votes = None
    for places, found in judged(objective, weights, images, workers):
        if votes is None:
            votes = found.new_zeros(int(images.wholes.max()) + 1, found.shape[1])
        # All probabilities of an image together weigh less than one vote.
        ballots = one_hot(found.argmax(1), found.shape[1]) + found.softmax(1) / (len(images) + 1)
        votes.index_add_(0, images.wholes[places].to(found.device), ballots)
    assert votes is not None
    (votes,) = workers.sum([votes])
    firsts = _first_of_each(images.wholes)
    return _counted(None, images.labels[firsts].to(votes.device), votes[images.wholes[firsts].to(votes.device)])


def judged(objective: Objective, weights: Tensors, images: Images, workers: Workers) -> Iterator[tuple[Tensor, Tensor]]:
    """Places of this worker's images, batch by batch, and their class scores, on the device."""
    _, height, width = images.shape
    batch_size = max(1, BATCH * LARGE_SIDE**2 // max(LARGE_SIDE**2, height * width))
    for places, pixels in in_order(images, batch_size, workers, weights[0].device):
        yield places, objective.scores(weights, to_unit(pixels))


def _counted(confusion: Tensor | None, labels: Tensor, found: Tensor) -> Tensor:
    """A matrix with more images counted in."""
    num_classes = found.shape[1]
    cells = torch.bincount(labels * num_classes + found.argmax(1), minlength=num_classes**2)
    more = cells.view(num_classes, num_classes).double()
    return more if confusion is None else confusion + more


def _first_of_each(wholes: Tensor) -> Tensor:
    """Places of the first patch of each image, by the image's number."""
    firsts = torch.full((int(wholes.max()) + 1,), len(wholes))
    firsts.scatter_reduce_(0, wholes, torch.arange(len(wholes)), "amin")
    return firsts[firsts < len(wholes)]
