"""Images of each class in each part of a data set."""

from __future__ import annotations

import torch

from dabo_ray.data.class_counts import class_counts, class_names, part_counts, too_small
from dabo_ray.data.images import Images
from dabo_ray.data.sources import Source
from dabo_ray.data.splits import make_pools


def images(labels: list[int], wholes: list[int] | None = None) -> Images:
    pixels = torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8)
    return Images(pixels, torch.tensor(labels), wholes=None if wholes is None else torch.tensor(wholes))


def test_parts_have_every_image_once_and_small_classes_are_named():
    source = Source(images([0] * 40 + [1] * 40 + [2] * 2), None, 3, ["cat", "dog", "emu"])
    pools = make_pools(source, seed=0, select_fraction=0.1, test_fraction=0.25)
    counts = part_counts(pools, outer_fraction=0.2, seed=0)
    assert [*counts] == ["train", "outer", "select", "test"]
    assert [sum(of) for of in zip(*counts.values(), strict=True)] == [40, 40, 2]
    lacking = [part for part, of in counts.items() if of[2] == 0]
    lines = too_small(counts, class_names(pools))
    assert lacking and len(lines) == len(lacking)
    assert lines[0].startswith(f"warning: {lacking[0]} has no image of 1 of the 3 classes")
    assert "emu (2)" in lines[0] and "cat" not in lines[0]


def test_enough_images_are_not_warned_of():
    assert not too_small({"train": [3, 1], "test": [1, 1]}, ["a", "b"])


def test_patches_count_as_the_images_that_they_are_of():
    assert class_counts(images([0, 0, 0, 1, 1, 0], wholes=[0, 0, 0, 1, 1, 2]), 3) == [2, 1, 0]


def test_classes_without_names_have_numbers():
    pools = make_pools(Source(images([0, 1] * 20), None, 2), seed=0, select_fraction=0.1, test_fraction=0.25)
    assert class_names(pools) == ["0", "1"]
