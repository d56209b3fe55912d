"""What an update is computed from follows from its number: against what a reader would write by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dabo_ray.augment.affine import AffineMatrixAugmenter
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.fixed import FixedAugmentation, Identity
from dabo_ray.augment.frozen import FrozenAugmenter
from dabo_ray.augment.geometric import Flip
from dabo_ray.bilevel.estimator import Estimator
from dabo_ray.bilevel.inputs import Inputs
from dabo_ray.bilevel.schedule import Schedule
from dabo_ray.bilevel.sgd import Sgd
from dabo_ray.data.loader import Batches
from dabo_ray.data.sources import load
from dabo_ray.seeds import derive
from dabo_ray.workers import Workers
from tests.fake_workers import OneOf

CPU, BATCH, SEED = torch.device("cpu"), 14, 5


def augmenter(**options) -> AffineMatrixAugmenter:
    torch.manual_seed(0)
    return AffineMatrixAugmenter(noise=6, hidden=8, **options)


def inputs(
    augmentation: FixedAugmentation | Augmenter, base: FixedAugmentation = Identity(), workers: Workers = Workers()
) -> Inputs:
    images = load("digits", Path()).labelled.take(torch.arange(60))
    return Inputs(
        Batches(images, BATCH, 0, workers, CPU),
        base,
        augmentation,
        schedule=Schedule(epochs=2, lr=0.1),
        sgd=Sgd.of(),
        seed=SEED,
        has_dropout=False,
        device=CPU,
    )


def drawn(purpose: str, number: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(SEED, purpose, number))


def flipped(levels: Tensor, number: int) -> Tensor:
    images = levels.float() / 255
    for index, chance in enumerate(torch.rand(len(images), generator=drawn("base", number)).tolist()):
        if chance < 0.5:
            images[index] = images[index, :, :, list(reversed(range(8)))]
    return images


@pytest.mark.parametrize("number", [0, 3, 5])
def test_an_augmenter_is_given_what_the_base_makes_of_the_images(number: int) -> None:
    plain, based = inputs(augmenter()), inputs(augmenter(), Flip())
    before, after = (source.step(number, [], []) for source in (plain, based))
    levels = plain.fit[number].images
    assert torch.equal(before.images, levels / 255)
    assert torch.equal(after.images, flipped(levels, number))
    assert not torch.equal(before.images, after.images)
    assert torch.equal(before.labels, after.labels)
    # The augmenter's own draws are the same with and without a base.
    expected = torch.rand(BATCH, 6, generator=drawn("augment", number)) * 2 - 1
    assert torch.equal(before.params[0], expected)
    assert torch.equal(after.params[0], expected)


def test_what_is_made_by_hand_is_made_of_the_images_as_they_are_before_the_classifier_sees_them() -> None:
    source = inputs(Flip(), Flip(vertical=True))
    step = source.step(2, [], [])
    made = Flip().apply_uint8(source.fit[2].images, Flip().draw(BATCH, drawn("augment", 2)))
    assert torch.equal(step.images, made)
    assert source.augment([], step.images, step.labels, step.params)[0] is step.images


def test_a_frozen_augmenter_is_given_what_the_base_makes_and_leaves_nothing_to_be_done() -> None:
    frozen = FrozenAugmenter(augmenter())
    source = inputs(frozen, Flip())
    step = source.step(2, [], [])
    made = frozen.apply(flipped(source.fit[2].images, 2), frozen.draw(BATCH, drawn("augment", 2)))
    assert torch.equal(step.images, made)
    assert not step.images.requires_grad
    assert source.augment([], step.images, step.labels, step.params)[0] is step.images


@pytest.mark.parametrize("number", [0, 7])
def test_shares_of_workers_make_up_the_batch(number: int) -> None:
    whole = inputs(augmenter(), Flip()).step(number, [], [])
    for rank in range(3):
        workers = OneOf(rank, 3)
        part = inputs(augmenter(), Flip(), workers).step(number, [], [])
        assert torch.equal(part.images, workers.shard(whole.images))
        assert torch.equal(part.labels, workers.shard(whole.labels))
        assert torch.equal(part.params[0], workers.shard(whole.params[0]))


def test_mirrored_draws_share_the_base() -> None:
    made = augmenter()
    step = inputs(made, Flip()).step(1, [], [])
    both = Estimator(workers=Workers(), antithetic=made.antithetic)(step)
    assert torch.equal(both.images, torch.cat((step.images, step.images)))
    assert torch.equal(both.params[0], torch.cat((step.params[0], -step.params[0])))


def test_an_augmenter_that_looks_at_the_image_looks_at_it_after_the_base() -> None:
    made = augmenter(conditioning="image")
    source = inputs(made, Flip())
    step = source.step(0, [], [])
    (expected,) = made.context(flipped(source.fit[0].images, 0), None)
    assert torch.equal(step.params[1], expected)
    with torch.no_grad():
        assert source.spread(made) != inputs(made).spread(made)
