"""Scores of a classifier against scikit-learn's."""

from __future__ import annotations

import warnings

import pytest
import torch
from sklearn import metrics
from torch import Tensor, nn

from dabo_ray.bilevel.evaluation import classification_scores
from dabo_ray.data.images import Images
from dabo_ray.workers import Workers


class Told:
    """An objective whose class scores are the first pixels of an image."""

    def __init__(self, num_classes: int) -> None:
        self.classifier = nn.Identity()
        self.num_classes = num_classes

    def scores(self, weights: list[Tensor], images: Tensor) -> Tensor:
        return images.flatten(1)[:, : self.num_classes]


def images_of(said: Tensor, labels: Tensor, num_classes: int) -> Images:
    pixels = torch.zeros(len(said), 1, 4, 4, dtype=torch.uint8)
    pixels.flatten(1).scatter_(1, said[:, None], 255)
    assert num_classes <= 16
    return Images(pixels, labels)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("there", "num_said"), [(6, 6), (3, 6), (6, 2), (1, 1)])
def test_scores_are_those_of_scikit_learn(seed: int, there: int, num_said: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Classes of very different sizes; some are never there, others never said.
    labels = torch.multinomial(2.0 ** -torch.arange(there), 700, replacement=True, generator=generator)
    said = torch.where(torch.rand(700, generator=generator) < 0.6, labels.clamp(max=num_said - 1), labels * 0)
    found = classification_scores(Told(6), [torch.zeros(1)], images_of(said, labels, 6), Workers())  # type: ignore[arg-type]
    with warnings.catch_warnings(action="ignore"):
        wanted = {
            "accuracy": 100 * metrics.accuracy_score(labels, said),
            "balanced_accuracy": 100 * metrics.balanced_accuracy_score(labels, said),
            "macro_f1": 100 * metrics.f1_score(labels, said, average="macro"),
        }
    assert found == pytest.approx(wanted, rel=1e-12)
