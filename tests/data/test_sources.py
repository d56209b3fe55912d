"""Data sets by their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from dabo_ray.data.sources import load


def test_digits():
    source = load("digits", Path("nowhere"))
    assert source.test is None and source.num_classes == 10
    assert source.labelled.images.shape == (1797, 1, 8, 8)
    assert source.labelled.labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    grey = load_digits().images
    assert np.array_equal(source.labelled.images[:, 0].numpy(), np.rint(grey * 255 / 16))
