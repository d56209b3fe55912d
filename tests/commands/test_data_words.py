"""What --check tells of the images: counts of classes and parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dabo_ray.commands.data_words import describe_images
from dabo_ray.data.images import Images
from dabo_ray.data.sources import Source
from dabo_ray.data.splits import Pools, make_pools


def pools_of(names: Sequence[str]) -> Pools:
    labels = torch.arange(len(names)).repeat(40)
    images = Images(torch.zeros(len(labels), 3, 8, 10, dtype=torch.uint8), labels)
    return make_pools(Source(images, None, len(names), names), seed=0, select_fraction=0.1, test_fraction=0.25)


def test_few_classes_have_a_row_each():
    told = describe_images(pools_of(["cat", "dog"]), {"train": [20, 1000], "test": [10, 5]}).splitlines()
    assert told[0] == "images      1,035 of 2 classes, 10x8 colour"
    assert [line.split() for line in told[1:]] == [
        ["train", "test", "all"],
        ["cat", "20", "10", "30"],
        ["dog", "1,000", "5", "1,005"],
        ["in", "all", "1,020", "15", "1,035"],
    ]


def test_many_classes_have_their_extremes():
    names = [f"c{number}" for number in range(30)]
    told = describe_images(pools_of(names), {"train": [*range(10, 40)], "test": [2] * 30}).splitlines()
    assert [line.split() for line in told[2:]] == [
        ["fewest,", "c0", "10", "2", "12"],
        ["most,", "c29", "39", "2", "41"],
        ["median", "24", "2", "26"],
        ["in", "all", "735", "60", "795"],
    ]
