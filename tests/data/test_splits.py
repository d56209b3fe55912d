"""Who sees which image, against a plain statement in Python of what a split has to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dabo_ray.data.images import DataError, Images
from dabo_ray.data.shift import Shift
from dabo_ray.data.sources import Source
from dabo_ray.data.splits import Pools, Roles, make_pools, stratified_split


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(per_class: Sequence[int], first: int = 0) -> Images:
    """Images whose pixels are their number, and whose labels are mixed."""
    labels = torch.tensor([label for label, count in enumerate(per_class) for _ in range(count)])
    labels = labels[torch.randperm(len(labels), generator=seeded())]
    numbers = torch.arange(first, first + len(labels))
    pixels = torch.stack([numbers // 256, numbers % 256], 1).to(torch.uint8)
    return Images(pixels.reshape(-1, 1, 1, 2), labels)


def numbers(images: Images) -> list[int]:
    """The numbers of images that `numbered` made."""
    return [int(high) * 256 + int(low) for high, low in images.images.flatten(1)]


LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(torch.tensor)
FRACTIONS = st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4).filter(lambda f: sum(f) <= 1)


@given(labels=LABELS, fractions=FRACTIONS, seed=st.integers(0, 9))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_split_is_disjoint_whole_and_stratified(labels: Tensor, fractions: list[float], seed: int):
    parts = stratified_split(labels, fractions, seeded(seed))
    assert len(parts) == len(fractions) + 1
    assert sorted(index for part in parts for index in part.tolist()) == list(range(len(labels)))
    in_all = Counter(labels.tolist())
    for part, fraction in zip(parts, [*fractions, 1 - sum(fractions)], strict=True):
        here = Counter(labels[part].tolist())
        for label, count in in_all.items():
            assert abs(here[label] - fraction * count) <= 1 + 1e-9
    again = stratified_split(labels, fractions, seeded(seed))
    assert all(torch.equal(part, same) for part, same in zip(parts, again, strict=True))


def test_another_seed_draws_other_images():
    labels = torch.arange(200) % 5
    first, second = (stratified_split(labels, [0.5], seeded(seed))[0].tolist() for seed in (0, 1))
    assert first != second


def test_every_image_is_as_likely():
    """400 draws of 3 out of 12: each image 100 times on average, standard deviation 8.7."""
    labels = torch.arange(12) % 3
    drawn = Counter(i for seed in range(400) for i in stratified_split(labels, [0.25], seeded(seed))[0].tolist())
    assert all(abs(drawn[index] - 100) < 45 for index in range(12))


PER_CLASS = (40, 50, 70)


def pools(seed: int = 0, *, published_test: bool = False, num_labels: int | None = None, shift: float = 0.0) -> Pools:
    source = Source(numbered(PER_CLASS), numbered((9, 9, 9), first=1000) if published_test else None, 3)
    return make_pools(
        source,
        seed=seed,
        select_fraction=0.1,
        test_fraction=0.25,
        num_labels=num_labels,
        shift=Shift(translation=shift),
    )


def roles(of: Pools, *, learned: bool, final: bool, seed: int = 0) -> Roles:
    return of.roles(learned=learned, final=final, outer_fraction=0.2, seed=seed)


def seen(of: Roles) -> tuple[set[int], set[int], set[int]]:
    """Numbers of the fit, outer and score images, each listed once."""
    found = [numbers(part) if part is not None else [] for part in (of.fit, of.outer, of.score)]
    assert all(len(set(part)) == len(part) for part in found)
    fit, outer, score = map(set, found)
    return fit, outer, score


@pytest.mark.parametrize("published_test", [True, False])
def test_who_sees_what(published_test: bool):
    split = pools(published_test=published_test)
    everything = set(range(sum(PER_CLASS)))
    test = set(numbers(split.test))
    labelled = set(numbers(split.labelled))
    assert test == set(range(1000, 1027)) if published_test else test | labelled == everything
    assert not test & labelled

    train, outer, select = seen(roles(split, learned=True, final=False))
    assert train | outer | select == labelled
    assert len(train) + len(outer) + len(select) == len(labelled)

    # A baseline trains on outer too; in the final phase everyone trains on select too, and test scores.
    assert seen(roles(split, learned=False, final=False)) == (train | outer, set(), select)
    assert seen(roles(split, learned=True, final=True)) == (train | select, outer, test)
    assert seen(roles(split, learned=False, final=True)) == (labelled, set(), test)


def test_fractions_are_of_the_labelled_images():
    split = pools()
    labelled = Counter(split.labelled.labels.tolist())
    trial = roles(split, learned=True, final=False)
    assert trial.outer is not None
    for images, fraction in ((trial.fit, 0.7), (trial.outer, 0.2), (trial.score, 0.1)):
        here = Counter(images.labels.tolist())
        assert all(abs(here[label] - fraction * count) <= 1 for label, count in labelled.items())
    in_test = Counter(split.test.labels.tolist())
    assert all(abs(in_test[label] - 0.25 * count) <= 1 for label, count in enumerate(PER_CLASS))


def test_labels_stay_with_their_images():
    source = numbered(PER_CLASS)
    label_of = dict(zip(numbers(source), source.labels.tolist(), strict=True))
    split = pools(num_labels=60)
    trial = roles(split, learned=True, final=True)
    for images in (trial.fit, trial.outer, trial.score, split.labelled, split.test):
        assert images is not None
        assert [label_of[number] for number in numbers(images)] == images.labels.tolist()


def test_trials_share_test_and_select_but_draw_outer():
    split = pools()
    searched = [seen(roles(split, learned=True, final=False, seed=seed)) for seed in range(5)]
    finals = [seen(roles(split, learned=True, final=True, seed=seed)) for seed in range(5)]
    assert len({frozenset(select) for _, _, select in searched}) == 1
    assert len({frozenset(test) for _, _, test in finals}) == 1
    assert len({frozenset(outer) for _, outer, _ in searched}) == 5
    assert seen(roles(split, learned=True, final=False, seed=3)) == searched[3]


def test_the_study_seed_draws_test_select_and_subset():
    one, same, other = pools(0, num_labels=60), pools(0, num_labels=60), pools(1, num_labels=60)
    assert numbers(one.test) == numbers(same.test) != numbers(other.test)
    assert numbers(one.labelled) == numbers(same.labelled) != numbers(other.labelled)
    assert one.select.tolist() == same.select.tolist() != other.select.tolist()


def test_a_subset_is_stratified():
    split = pools(num_labels=60)
    labelled = Counter(pools().labelled.labels.tolist())
    here = Counter(split.labelled.labels.tolist())
    total = sum(labelled.values())
    assert all(abs(here[label] - 60 / total * count) <= 1 for label, count in labelled.items())


def test_all_labels_may_be_named():
    total = len(pools().labelled)
    assert numbers(pools(num_labels=total).labelled) == numbers(pools().labelled)
    with pytest.raises(
        DataError, match=f"num_labels is {total + 1}, the data set has {total} labelled images; lower it"
    ):
        pools(num_labels=total + 1)


def square(num_images: int) -> Images:
    """Images that any shift would change: a bright spot on a dark plane."""
    pixels = torch.zeros(num_images, 1, 16, 16, dtype=torch.uint8)
    pixels[:, :, 4:8, 6:9] = 200
    pixels[:, 0, 15, 15] = torch.arange(num_images).to(torch.uint8)
    return Images(pixels, torch.arange(num_images) % 2)


def shifted_pools() -> Pools:
    return make_pools(
        Source(square(100), None, 2),
        seed=0,
        select_fraction=0.2,
        test_fraction=0.2,
        shift=Shift(rotation=90, translation=0.2),
    )


@pytest.mark.parametrize("final", [True, False])
def test_only_images_that_are_not_trained_on_are_shifted(final: bool):
    split = shifted_pools()
    trial = roles(split, learned=True, final=final)
    upright = square(1).images[0, 0, :12, :12]
    is_upright = [torch.equal(image[0, :12, :12], upright) for image in trial.fit.images]
    assert all(is_upright)
    assert trial.outer is not None
    for images in (trial.outer, trial.score):
        turned = [not torch.equal(image[0, :12, :12], upright) for image in images.images]
        assert all(turned)


def test_test_images_are_never_trained_on():
    """Under a shift as well; the corner pixel of an upright image is its number."""
    split = shifted_pools()
    upright = shifted_pools().labelled.images[:, 0, 15, 15].tolist()
    fits = [
        roles(split, learned=learned, final=final, seed=s).fit for learned in (1, 0) for final in (1, 0) for s in (0, 1)
    ]
    trained_on = {number for fit in fits for number in fit.images[:, 0, 15, 15].tolist()}
    held_out = set(range(100)) - set(upright)
    assert len(held_out) == len(split.test)
    assert not trained_on & held_out


def test_without_a_shift_nothing_is_copied():
    split = pools()
    assert split.shifted is split.labelled


@pytest.mark.parametrize(
    ("per_class", "select", "outer", "words"),
    [
        (1, 0.6, 0.2, "none to train on; raise data.num_labels, or lower data.outer_fraction or data.select_fraction"),
        (2, 0.4, 0.55, "none to train on"),
        (3, 0.1, 0.3, "none for select; raise data.select_fraction or data.num_labels"),
        (3, 0.3, 0.1, "none for outer; raise data.outer_fraction or data.num_labels"),
    ],
)
def test_too_few_images_for_a_role(per_class: int, select: float, outer: float, words: str):
    source = Source(numbered((per_class,) * 3), numbered((2, 2, 2), first=100), 3)
    split = make_pools(source, seed=0, select_fraction=select, test_fraction=0.25)
    with pytest.raises(DataError, match=words):
        split.roles(learned=True, final=False, outer_fraction=outer, seed=0)


def test_too_few_images_for_test():
    source = Source(numbered((20, 20)), None, 2)
    split = make_pools(source, seed=0, select_fraction=0.2, test_fraction=0.01)
    with pytest.raises(DataError, match=r"none for test; raise data\.test_fraction"):
        split.roles(learned=False, final=True, outer_fraction=0.2, seed=0)
