"""Batches: a function of seed and number, and the same images whatever the number of workers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dabo_ray.augment.functional import to_unit
from dabo_ray.data.images import Images
from dabo_ray.data.loader import Batch, Batches
from dabo_ray.workers import Workers
from tests.fake_workers import OneOf

CPU = torch.device("cpu")


def one_pass(loader: Batches, number: int) -> list[Batch]:
    return [loader[number * len(loader) + index] for index in range(len(loader))]


def numbered(num: int) -> Images:
    pixels = torch.stack([torch.arange(num) // 256, torch.arange(num) % 256], 1).to(torch.uint8)
    return Images(pixels.reshape(num, 1, 1, 2), torch.arange(num))


def batches(num: int = 103, batch_size: int = 10, seed: int = 0, workers: Workers = Workers()) -> Batches:
    return Batches(numbered(num), batch_size, seed, workers, CPU)


@given(num=st.integers(1, 60), batch_size=st.integers(1, 70), seed=st.integers(0, 5), number=st.integers(0, 3))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_pass_shows_each_image_at_most_once(num: int, batch_size: int, seed: int, number: int):
    loader = batches(num, batch_size, seed)
    shown = [batch.labels.tolist() for batch in one_pass(loader, number)]
    size = min(num, batch_size)
    assert [len(labels) for labels in shown] == [size] * (num // size)
    assert len(shown) == len(loader)
    flat = [label for labels in shown for label in labels]
    assert len(set(flat)) == len(flat)


def test_images_come_with_their_labels():
    for batch in one_pass(batches(600, 64), 0):
        high, low = batch.images.flatten(1).long().unbind(1)
        assert torch.equal(256 * high + low, batch.labels)
        assert batch.images.dtype == torch.uint8 and batch.size == 64


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_shares_make_the_whole_batch(world_size: int):
    whole = batches()
    workers = [batches(workers=OneOf(rank, world_size)) for rank in range(world_size)]
    for number in (0, 7, 23):
        parts = [worker[number] for worker in workers]
        assert [part.size for part in parts] == [10] * world_size
        assert max(len(p.labels) for p in parts) - min(len(p.labels) for p in parts) <= 1
        together = torch.cat([part.labels for part in parts])
        assert sorted(together.tolist()) == sorted(whole[number].labels.tolist())
        for rank, part in enumerate(parts):
            assert torch.equal(part.labels, OneOf(rank, world_size).shard(whole[number].labels))
            assert torch.equal(part.images, OneOf(rank, world_size).shard(whole[number].images))


def test_order_is_a_function_of_seed_and_pass():
    one, same, other = batches(seed=0), batches(seed=0), batches(seed=1)
    numbers = [31, 3, 12, 0, 31, 25]
    backwards = {number: same[number].labels.tolist() for number in reversed(numbers)}
    assert all(one[number].labels.tolist() == backwards[number] for number in numbers)
    assert other[3].labels.tolist() != one[3].labels.tolist()


def test_passes_differ():
    loader = batches()
    orders = [[label for batch in one_pass(loader, n) for label in batch.labels.tolist()] for n in range(4)]
    assert len({tuple(order) for order in orders}) == 4
    assert orders[2][:10] == loader[20].labels.tolist()


def test_global_generator_is_left_alone():
    before = torch.get_rng_state()
    list(one_pass(batches(), 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_left_out_changes():
    """103 images in tens leave three out of each pass; over many passes all are seen."""
    loader = batches()
    seen = {label for number in range(5) for batch in one_pass(loader, number) for label in batch.labels.tolist()}
    assert seen == set(range(103))


def test_a_batch_larger_than_the_data():
    loader = batches(num=7, batch_size=128)
    assert len(loader) == 1
    assert sorted(loader[0].labels.tolist()) == list(range(7))
    assert loader[0].size == 7
    assert loader[0].labels.tolist() != loader[1].labels.tolist()


def test_to_unit():
    unit = to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert unit.dtype == torch.float32
    assert torch.allclose(unit, torch.tensor([0.0, 0.2, 1.0]))
