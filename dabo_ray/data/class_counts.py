"""How many images of each class the parts of a data set have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from dabo_ray.data.images import Images
from dabo_ray.data.splits import Pools
from dabo_ray.data.wording import listed


def class_counts(images: Images, num_classes: int) -> list[int]:
    """Images of each class; of patches, the larger images; of images with masks, those with such a pixel."""
    if images.masks is not None:
        there = [masks.unique() for masks in images.read_masks(torch.arange(len(images)))]
        return torch.cat(there).bincount(minlength=num_classes)[:num_classes].tolist()
    labels = images.labels
    if images.wholes is not None:
        one_of_each = {whole: place for place, whole in enumerate(images.wholes.tolist())}
        labels = labels[list(one_of_each.values())]
    return labels.bincount(minlength=num_classes).tolist()


def part_counts(pools: Pools, *, outer_fraction: float, seed: int) -> dict[str, list[int]]:
    """Part -> images of each class, of a learned trial of a study's search.

    Raises:
        DataError: a part is left with no image.
    """
    roles = pools.roles(learned=True, final=False, outer_fraction=outer_fraction, seed=seed)
    assert roles.outer is not None
    parts = {"train": roles.fit, "outer": roles.outer, "select": roles.score, "test": pools.test}
    return {name: class_counts(images, pools.num_classes) for name, images in parts.items()}


def class_names(pools: Pools) -> Sequence[str]:
    """Of all classes; their numbers where they have no names."""
    return pools.classes or [*map(str, range(pools.num_classes))]


def too_small(counts: Mapping[str, Sequence[int]], names: Sequence[str]) -> list[str]:
    """A line for each part that has no image of some classes: nothing is found out, or learned, about them there."""
    lines = []
    for part, numbers in counts.items():
        if lacking := [number for number, count in enumerate(numbers) if count == 0]:
            told = [f"{names[number]} ({sum(of[number] for of in counts.values())})" for number in lacking]
            lines.append(
                f"warning: {part} has no image of {len(lacking)} of the {len(names)} classes, which have this few in "
                f"all: {listed(told)}; add images, or take the classes out"
            )
    return lines
