"""Splits by groups: nobody stands on both sides, and the parts are as large and as mixed as was asked for."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dabo_ray.data.group_split import split_groups
from dabo_ray.data.images import DataError, Images
from dabo_ray.data.sources import Source
from dabo_ray.data.splits import Pools, make_pools


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


SIZES = st.lists(st.integers(1, 30), min_size=5, max_size=40)


def made(sizes: list[int], num_classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Numbers of groups of these sizes and random labels, in a random order."""
    groups = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    labels = torch.randint(0, num_classes, (len(groups),), generator=seeded(seed))
    return 7 * groups[torch.randperm(len(groups), generator=seeded(seed))] + 3, labels


@given(
    sizes=SIZES,
    num_classes=st.integers(1, 4),
    fractions=st.lists(st.floats(0.01, 0.33), max_size=3),
    seed=st.integers(0, 9),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_no_group_is_in_two_parts(sizes: list[int], num_classes: int, fractions: list[float], seed: int):
    groups, labels = made(sizes, num_classes, seed)
    at_least = [1, *([1] * len(fractions))]
    parts = split_groups(groups, labels, fractions, at_least, seeded(seed))
    assert sorted(index for part in parts for index in part.tolist()) == list(range(len(groups)))
    in_parts = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, in_parts)) == len(sizes) and all(in_parts)
    # No part is further off than the largest group, give or take what it must have.
    for part, fraction in zip(parts, [*fractions, 1 - math.fsum(fractions)], strict=True):
        assert abs(len(part) - fraction * len(groups)) <= 2 * max(sizes)
    again = split_groups(groups, labels, fractions, at_least, seeded(seed))
    assert all(torch.equal(part, same) for part, same in zip(parts, again, strict=True))


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.25, 0.5])
@pytest.mark.parametrize("is_pure", [False, True])
def test_classes_are_divided_as_asked_for(fraction: float, is_pure: bool):
    """60 groups of 1 to 50 images, of one class each or of three classes in proportions of their own: within 3 %."""
    for seed in range(5):
        sizes = (50 ** torch.rand(60, generator=seeded(seed))).long().clamp(min=1).tolist()
        groups = torch.repeat_interleave(torch.arange(60), torch.tensor(sizes))
        weights = torch.tensor([6.0, 3.0, 1.0]) * torch.rand(60, 3, generator=seeded(seed))
        labels = groups % 3 if is_pure else torch.multinomial(weights[groups], 1, generator=seeded(seed)).flatten()
        part, _ = split_groups(groups, labels, [fraction], [1, 1], seeded(seed))
        for label in range(3):
            in_all = labels == label
            assert abs(float(in_all[part].sum() / in_all.sum()) - fraction) < 0.03


def test_seeds_divide_equal_groups_differently():
    groups = torch.arange(1000) // 100
    labels = torch.arange(1000) % 10
    drawn = {
        tuple(groups[split_groups(groups, labels, [0.2], [1, 1], seeded(s))[0]].unique().tolist()) for s in range(9)
    }
    assert len(drawn) > 5 and {len(each) for each in drawn} == {2}


def test_every_part_gets_the_groups_that_it_must_have():
    groups = torch.tensor([0] * 97 + [1, 2, 3])
    labels = torch.arange(100) % 2
    for at_least in ([1, 3], [3, 1], [2, 2]):
        parts = split_groups(groups, labels, [0.25], at_least, seeded())
        assert [len(groups[part].unique()) for part in parts] == at_least
    whole, nothing = split_groups(groups, labels, [1.0], [3, 0], seeded())
    assert len(whole) == 100 and len(nothing) == 0
    with pytest.raises(ValueError, match=r"4 groups cannot be divided into parts of at least \[2, 3\]"):
        split_groups(groups, labels, [0.25], [2, 3], seeded())


def students(num: int, signs: int = 10, takes: int = 3) -> Images:
    """Every student shows every sign; the pixels of an image are the student's number."""
    groups = torch.arange(num).repeat_interleave(signs * takes)
    return Images(groups.to(torch.uint8).view(-1, 1, 1, 1), torch.arange(len(groups)) % signs, groups=groups)


def pools(num: int, *, has_test: bool = False, num_labels: int | None = None, seed: int = 0) -> Pools:
    source = Source(students(num), students(3) if has_test else None, 10)
    return make_pools(source, seed=seed, select_fraction=0.1, test_fraction=0.25, num_labels=num_labels)


@pytest.mark.parametrize("num", [4, 5, 7, 30])
@pytest.mark.parametrize("num_labels", [None, 90])
def test_nobody_is_on_both_sides_of_a_study(num: int, num_labels: int | None):
    for seed in range(5):
        study = pools(num, num_labels=num_labels, seed=seed)
        trial = study.roles(learned=True, final=False, outer_fraction=0.2, seed=seed)
        assert trial.outer is not None
        parts = [set(part.images.flatten().tolist()) for part in (trial.fit, trial.outer, trial.score, study.test)]
        assert all(parts) and sum(map(len, parts)) == len(set.union(*parts))
        assert num_labels or len(set.union(*parts)) == num
        final = study.roles(learned=False, final=True, outer_fraction=0.2, seed=seed)
        assert not {*final.fit.images.flatten().tolist()} & parts[3]


def test_a_subset_is_of_whole_groups_and_says_how_large_it_is():
    study = pools(30, num_labels=100)
    assert len(study.labelled) == 90
    assert study.notes == ["data.num_labels is 100: the groups nearest to it hold 90 labelled images"]


def test_fewer_groups_than_parts():
    with pytest.raises(DataError, match="makes 3 of the 90 images; train, outer, select, test need one each, so 4 at"):
        pools(3)
    assert len(pools(3, has_test=True).select) == 30
    with pytest.raises(DataError, match="makes 2 of the 60 images; train, outer, select need one each"):
        pools(2, has_test=True)
