"""Small tensors on their way to a device."""

from __future__ import annotations

import torch

from dabo_ray.transfer import _part, sent


def test_tensors_that_are_there_are_not_copied() -> None:
    tensors = [torch.arange(3), torch.rand(2, 2)]
    found = sent(tensors, torch.device("cpu"))
    assert all(ours is theirs for ours, theirs in zip(found, tensors, strict=True))


def test_a_part_of_a_packed_copy_is_seen_as_its_own_type() -> None:
    packed = torch.zeros(64, dtype=torch.uint8)
    _part(packed, 16, 24, torch.empty(3, dtype=torch.int64)).copy_(torch.arange(3))
    assert _part(packed, 16, 24, torch.empty(3, dtype=torch.int64)).tolist() == [0, 1, 2]
    assert packed[:16].sum() == 0
    assert packed[40:].sum() == 0
    assert _part(packed, 48, 4, torch.empty(2, 2, dtype=torch.bool)).shape == (2, 2)


def test_nothing_to_send() -> None:
    assert sent([], torch.device("cpu")) == []
