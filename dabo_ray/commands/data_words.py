"""What a study's data are, for people: how many images of each class in each part, of which sizes."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from dabo_ray.data.class_counts import class_names
from dabo_ray.data.splits import Pools
from dabo_ray.data.unconverted import Unconverted
from dabo_ray.reporting.terminal_table import as_text, make_table

MOST_ROWS = 20
"""Classes that have a row each; of more, the extremes are told."""


def describe_images(
    pools: Pools, counts: Mapping[str, Sequence[int]], sizes: Mapping[tuple[int, int], int] | None = None
) -> str:
    """Number and size of the images, and a table of classes and parts.

    Args:
        pools: the images of a study.
        counts: part -> images of each class.
        sizes: (width, height) of the files that were looked at, and how many have it; None: as the images tell.
    """
    names = class_names(pools)
    if sizes is None and isinstance(pools.labelled.pixels, Unconverted):
        sizes = pools.labelled.pixels.sizes
    channels, height, width = pools.labelled.shape
    has_masks = pools.labelled.masks is not None
    total = len(pools.labelled) + len(pools.test) if has_masks else sum(map(sum, counts.values()))
    lines = [
        f"images      {total:,} of {len(names)} classes, {width}x{height} {'colour' if channels == 3 else 'grey'}"
        f"{size_words(sizes) if sizes else ''}"
    ]
    # Train is what a learned arm fits; others fit the outer images too.
    rows = _rows(counts, names)
    columns = {"images with class" if has_masks else "": "left", **dict.fromkeys((*counts, "all"), "right")}
    # An image of a segmentation has several classes.
    last = [] if has_masks else [("in all", *_cells([sum(each) for each in counts.values()]))]
    table = make_table(columns, [*rows, *last])  # type: ignore[arg-type]
    lines += [f"            {line}" for line in as_text(table).splitlines()]
    return "\n".join(lines)


def size_words(sizes: Mapping[tuple[int, int], int]) -> str:
    """Of (width, height) of files and how many of those that were looked at have it."""
    if len(sizes) == 1:
        return f", from files of {_times(next(iter(sizes)))}"
    smallest, largest = min(sizes, key=min), max(sizes, key=min)
    usual, looked_at = max(sizes, key=sizes.__getitem__), sum(sizes.values())
    often = f", most often {_times(usual)}" if sizes[usual] > looked_at / 4 else ""
    return f", from files of {_times(smallest)} to {_times(largest)}{often} ({looked_at:,} looked at)"


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _rows(counts: Mapping[str, Sequence[int]], names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    if len(names) <= MOST_ROWS:
        for number, name in enumerate(names):
            yield name, *_cells([of[number] for of in counts.values()])
        return
    totals = [sum(of) for of in zip(*counts.values(), strict=True)]
    for word, number in (("fewest", totals.index(min(totals))), ("most", totals.index(max(totals)))):
        yield f"{word}, {names[number]}", *_cells([of[number] for of in counts.values()])
    yield "median", *(f"{statistics.median(of):,.0f}" for of in (*counts.values(), totals))


def _cells(numbers: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"{number:,}" for number in (*numbers, sum(numbers)))
