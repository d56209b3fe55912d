"""What a classifier gets right."""

from __future__ import annotations

import torch

from dabo_ray.bilevel.collectives import Collective
from dabo_ray.bilevel.inner import Tensors
from dabo_ray.bilevel.objective import Objective
from dabo_ray.data.loader import Share, to_unit
from dabo_ray.data.sources import Images

BATCH = 512


@torch.no_grad()
def accuracy(objective: Objective, weights: Tensors, images: Images, share: Share, collective: Collective) -> float:
    """Percent of images whose class has the highest score; every worker judges its share, and all must take part."""
    objective.classifier.eval()
    device = weights[0].device
    mine = images.take(share.of(torch.arange(len(images))))
    right = torch.zeros((), device=device)
    for start in range(0, len(mine), BATCH):
        guessed = objective.scores(weights, to_unit(mine.images[start : start + BATCH].to(device))).argmax(1)
        right += (guessed == mine.labels[start : start + BATCH].to(device)).sum()
    (right,) = collective.sum([right])
    return 100 * float(right) / len(images)
