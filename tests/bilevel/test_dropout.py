"""Masks of dropout: whose they are, how many numbers they drop, and what they leave alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import dropout

from dabo_ray.bilevel.dropout import Masks, dropout_by
from dabo_ray.workers import Workers
from tests.fake_workers import OneOf


def dropped(masks: Masks | None, rows: int, *, p: float = 0.25, width: int = 50) -> torch.Tensor:
    before = torch.get_rng_state()
    with dropout_by(masks):
        found: torch.Tensor = nn.Dropout(p)(torch.ones(rows, width))
    assert torch.equal(torch.get_rng_state(), before)
    return found


def test_drops_the_part_asked_for_and_keeps_the_mean() -> None:
    found = dropped(Masks(0, Workers(), 400), 400)
    assert found.unique().tolist() == pytest.approx([0, 4 / 3])
    # Standard error of 20,000 draws: 0.3 %.
    assert float((found == 0).float().mean()) == pytest.approx(0.25, abs=0.012)


def test_a_pass_can_be_repeated_and_another_is_another() -> None:
    one, again, other = (dropped(Masks(seed, Workers(), 20), 20) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_layers_have_masks_of_their_own() -> None:
    with dropout_by(Masks(0, Workers(), 20)):
        first, second = (dropout(torch.ones(20, 50), 0.5) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_worker_has_its_rows_of_the_whole(rank: int) -> None:
    whole = dropped(Masks(3, Workers(), 20), 20)
    workers = OneOf(rank, 3)
    assert torch.equal(dropped(Masks(3, workers, 20), len(workers.shard(whole))), workers.shard(whole))


def test_fewer_images_have_the_masks_of_the_first() -> None:
    assert torch.equal(dropped(Masks(3, Workers(), 7), 7), dropped(Masks(3, Workers(), 20), 20)[:7])


def test_repeated_images_have_the_same_masks() -> None:
    first, second = dropped(Masks(3, Workers(), 6, repeats=2), 12).chunk(2)
    assert torch.equal(first, second)
    assert torch.equal(first, dropped(Masks(3, Workers(), 6), 6))


def test_nothing_is_dropped_without_masks_or_outside_training() -> None:
    assert torch.equal(dropped(None, 20), torch.ones(20, 50))
    with dropout_by(Masks(0, Workers(), 20)):
        assert torch.equal(nn.Dropout(0.5).eval()(torch.ones(20, 5)), torch.ones(20, 5))
