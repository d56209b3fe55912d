"""Splits of the labelled images into disjoint parts, stratified and seeded."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dabo_ray.data.group_split import split_groups
from dabo_ray.data.images import DataError, Images
from dabo_ray.data.shift import Shift, shifted
from dabo_ray.data.sources import Source
from dabo_ray.seeds import derive


def stratified_split(labels: Tensor, fractions: Sequence[float], generator: torch.Generator) -> list[Tensor]:
    """Indices of disjoint parts, one per fraction and a last one with the rest.

    Every class is divided in the given fractions, to within one image.

    Args:
        labels: (N,) int64.
        fractions: each in (0, 1), with a sum of at most 1.
        generator: draws the order within each class.
    """
    parts: list[list[Tensor]] = [[] for _ in range(len(fractions) + 1)]
    cumulative = torch.tensor([0.0, *fractions], dtype=torch.float64).cumsum(0)
    for label in torch.unique(labels):
        members = torch.nonzero(labels == label).flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        bounds = [*(cumulative * len(members)).round().long().tolist(), len(members)]
        for part, low, high in zip(parts, bounds[:-1], bounds[1:], strict=True):
            part.append(members[low:high])
    none = labels.new_empty(0)
    return [torch.cat([none, *part]).sort().values for part in parts]


def split_images(
    images: Images, fractions: Sequence[float], generator: torch.Generator, *, groups_at_least: Sequence[int]
) -> list[Tensor]:
    """Indices of disjoint, stratified parts, one per fraction and a last one with the rest; groups stay together.

    Without groups they are as `stratified_split` draws them, of whole images where these are patches.

    Args:
        images: to be divided.
        fractions: each in (0, 1], with a sum of at most 1.
        generator: draws the order.
        groups_at_least: groups that each part must get, if there are any, the last one too.
    """
    if images.groups is not None:
        return split_groups(images.groups, images.labels, fractions, groups_at_least, generator)
    if images.wholes is None:
        return stratified_split(images.labels, fractions, generator)
    _, whole_of = torch.unique(images.wholes, return_inverse=True)
    labels = images.labels.new_empty(int(whole_of.max()) + 1 if len(whole_of) else 0)
    labels[whole_of] = images.labels
    parts = stratified_split(labels, fractions, generator)
    return [torch.nonzero(torch.isin(whole_of, part)).flatten() for part in parts]


@dataclass(frozen=True)
class Roles:
    """The images of one trial, by what they are used for."""

    fit: Images
    """The classifier is trained on these."""

    outer: Images | None
    """Their loss drives the augmenter; None for a trial without a learned one."""

    score: Images
    """The trial is judged on these: `select`, or `test` in the final phase."""


@dataclass(frozen=True)
class Pools:
    """The images of a study: test and select are the same for all its trials, outer is drawn by each."""

    labelled: Images
    shifted: Images
    """The same images under the study's shift; the same object when there is none."""

    test: Images
    select: Tensor
    """Indices into the labelled images that choose settings."""

    num_classes: int

    classes: Sequence[str] = ()
    """Names of the classes; empty: they have none."""

    notes: Sequence[str] = ()
    """Lines for the user: how the files were understood, and what was left out."""

    @functools.cached_property
    def sample(self) -> Tensor:
        """Images that stand for the labelled ones, (N, C, H, W) uint8; encoded ones are decoded once."""
        return self.labelled.sample()

    def roles(self, *, learned: bool, final: bool, outer_fraction: float, seed: int) -> Roles:
        """The images of a trial.

        A learned trial gives its outer images to the augmenter; a baseline trains on them, so that every arm sees the
        same labelled images. In the final phase the select images are trained on too, and test scores. Only training
        images are left as they are; outer, select and test are shifted.

        Args:
            learned: whether the trial needs outer images.
            final: whether it is scored on test.
            outer_fraction: part of the labelled images for outer.
            seed: of the trial; draws outer from all but the select images.

        Raises:
            DataError: a role is left with no image.
        """
        is_select = torch.zeros(len(self.labelled), dtype=torch.bool)
        is_select[self.select] = True
        rest = torch.nonzero(~is_select).flatten()
        generator = torch.Generator().manual_seed(derive(seed, "outer"))
        fraction = outer_fraction * len(self.labelled) / max(1, len(rest))
        parts = split_images(self.labelled.take(rest), [fraction], generator, groups_at_least=(1, 1))
        outer, train = (rest[part] for part in parts)
        fit = [train, *([] if learned else [outer]), *([self.select] if final else [])]
        roles = Roles(
            fit=self.labelled.take(torch.cat(fit).sort().values),
            outer=self.shifted.take(outer) if learned else None,
            score=self.test if final else self.shifted.take(self.select),
        )
        if len(train) == 0:
            raise DataError(
                f"{len(self.labelled)} labelled images leave none to train on; raise data.num_labels, or lower "
                "data.outer_fraction or data.select_fraction"
            )
        for name, images in (("outer", roles.outer), ("test" if final else "select", roles.score)):
            if images is not None and len(images) == 0:
                raise DataError(
                    f"{len(self.labelled)} labelled images leave none for {name}; raise data.{name}_fraction"
                    f"{'' if name == 'test' else ' or data.num_labels'}"
                )
        return roles


def make_pools(
    source: Source,
    *,
    seed: int,
    select_fraction: float,
    test_fraction: float,
    num_labels: int | None = None,
    shift: Shift = Shift(),
) -> Pools:
    """Divides a data set for a study.

    Args:
        source: the data set as published.
        seed: of the study.
        select_fraction: part of the labelled images that chooses settings.
        test_fraction: part of all images held out, for a source without a test set.
        num_labels: keep this many labelled images, a stratified subset; None keeps all.
        shift: of the images that are not trained on.

    Raises:
        DataError: fewer labelled images than asked for, or fewer groups than parts.
    """

    def generator(purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(derive(seed, purpose))

    labelled, test, notes = source.labelled, source.test, [*source.notes]
    _refuse_too_few_groups(labelled, ("train", "outer", "select", *(("test",) if test is None else ())))
    if test is None:
        held_out, rest = split_images(labelled, [test_fraction], generator("test"), groups_at_least=(1, 3))
        labelled, test = labelled.take(rest), labelled.take(held_out)
    if num_labels is not None:
        there = len(labelled) if labelled.wholes is None else len(set(labelled.wholes.tolist()))
        if num_labels > there:
            raise DataError(f"data.num_labels is {num_labels}, the data set has {there:,} labelled images; lower it")
        kept = split_images(labelled, [num_labels / there], generator("labels"), groups_at_least=(3, 0))[0]
        labelled = labelled.take(kept)
        if labelled.groups is not None:
            notes.append(
                f"data.num_labels is {num_labels}: the groups nearest to it hold {len(labelled):,} labelled images"
            )
    select = split_images(labelled, [select_fraction], generator("select"), groups_at_least=(1, 2))[0]
    moved = labelled
    if shift:
        moved = shifted(labelled, shift, generator("shift"))
        test = shifted(test, shift, generator("shift of test"))
    return Pools(labelled, moved, test, select, source.num_classes, source.classes, notes)


def _refuse_too_few_groups(labelled: Images, parts: Sequence[str]) -> None:
    if labelled.groups is None:
        return
    there = len(torch.unique(labelled.groups))
    if there < len(parts):
        raise DataError(
            f"data.groups makes {there} of the {len(labelled):,} images; {', '.join(parts)} need one each, so "
            f"{len(parts)} at least: name finer groups, or leave data.groups out"
        )
