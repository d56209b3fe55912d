"""The alternative to our batches: a torch DataLoader over images by their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset


@contextmanager
def passes(
    images: Dataset[Any], batch_size: int, workers: Sequence[int], device: torch.device
) -> Iterator[list[Callable[[], object]]]:
    """A shuffled pass with each number of worker processes, which live from pass to pass and end with the context.

    Args:
        images: pairs of an image and its label.
        batch_size: a smaller last batch is left out.
        workers: processes of each loader; 0 for the calling one.
        device: where each batch is moved.
    """
    loaders = [
        DataLoader(images, batch_size, shuffle=True, num_workers=num, persistent_workers=num > 0, drop_last=True)
        for num in workers
    ]
    try:
        yield [lambda loader=loader: _drain(loader, device) for loader in loaders]  # type: ignore[misc]
    finally:
        loaders.clear()


def _drain(loader: DataLoader[tuple[torch.Tensor, torch.Tensor]], device: torch.device) -> None:
    for images, labels in loader:
        images.to(device)
        labels.to(device)
