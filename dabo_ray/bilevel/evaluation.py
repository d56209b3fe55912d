"""Accuracy of a classifier; patches of an image vote for its class."""

from __future__ import annotations

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
def accuracy(objective: Objective, weights: Tensors, images: Images, workers: Workers) -> float:
    """Percent of images whose class has the highest score; every worker judges its shard, and all must take part.

    Patches (`images.wholes`) each vote for a class of their image, and the sum of their probabilities decides a tie.
    """
    objective.classifier.eval()
    device = weights[0].device
    _, height, width = images.shape
    batch_size = max(1, BATCH * LARGE_SIDE**2 // max(LARGE_SIDE**2, height * width))
    right = torch.zeros((), device=device)
    votes = None
    for places, pixels in in_order(images, batch_size, workers, device):
        scores = objective.scores(weights, to_unit(pixels))
        if images.wholes is None:
            right += (scores.argmax(1) == images.labels[places].to(device)).sum()
            continue
        if votes is None:
            votes = scores.new_zeros(int(images.wholes.max()) + 1, scores.shape[1])
        # All probabilities of an image together weigh less than one vote.
        ballots = one_hot(scores.argmax(1), scores.shape[1]) + scores.softmax(1) / (len(images) + 1)
        votes.index_add_(0, images.wholes[places].to(device), ballots)
    if images.wholes is None:
        (right,) = workers.sum([right])
        return 100 * float(right) / len(images)
    assert votes is not None
    (votes,) = workers.sum([votes])
    firsts = _first_of_each(images.wholes)
    right = (votes[images.wholes[firsts].to(device)].argmax(1) == images.labels[firsts].to(device)).sum()
    return 100 * float(right) / len(firsts)


def _first_of_each(wholes: Tensor) -> Tensor:
    """Places of the first patch of each image, by the image's number."""
    firsts = torch.full((int(wholes.max()) + 1,), len(wholes))
    firsts.scatter_reduce_(0, wholes, torch.arange(len(wholes)), "amin")
    return firsts[firsts < len(wholes)]
