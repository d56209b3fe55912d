"""What an augmenter does to single images, decided ahead: one pass of the network for many images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.fixed import Params
from dabo_ray.seeds import derive

ROWS = 512
"""Images that are decided about at once: for a small network hardly dearer than for one."""

BLOCKS = 16
"""Blocks of so many rows for each seed, of which an image gets a row of any; an augmenter with classes shares them."""


class DrawnAhead:
    """Rows of what an augmenter decides, drawn ahead in blocks, by torch's global generator.

    The blocks follow from the seed that the generator was given last; each row taken is a draw from the generator. So
    what an image gets depends on the state of the generator alone, as if it was drawn for it, and workers with seeds of
    their own have blocks of their own. A block is drawn when it is first needed.

    Args:
        augmenter: on the CPU, with weights that do not change; not conditioned on the image.
    """

    def __init__(self, augmenter: Augmenter) -> None:
        self.augmenter = augmenter
        self._seed = -1
        self._blocks: dict[tuple[int, int | None], Params] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the blocks, which are drawn anew where they are needed."""
        return {"augmenter": self.augmenter, "_seed": -1, "_blocks": {}}

    def row(self, label: int | None = None) -> Params:
        """What is decided for one image, of that class if classes matter: tensors with a single row."""
        seed = torch.initial_seed()
        if seed != self._seed:
            self._seed = seed
            self._blocks.clear()
        num_blocks = BLOCKS if label is None else max(1, BLOCKS // self.augmenter.num_classes)
        number, row = divmod(int(torch.randint(num_blocks * ROWS, ())), ROWS)
        block = self._blocks.get((number, label))
        if block is None:
            block = self._blocks[number, label] = self._draw(number, label)
        return tuple(part[row : row + 1] for part in block)

    def _draw(self, number: int, label: int | None) -> Params:
        (draws,) = self.augmenter.draw(ROWS, torch.Generator().manual_seed(derive(self._seed, "drawn ahead", number)))
        weight = next(self.augmenter.parameters())
        context: tuple[Tensor, ...] = ()
        if label is not None:
            context = (one_hot(torch.tensor([label]), self.augmenter.num_classes).to(weight).expand(ROWS, -1),)
        return self.augmenter.decide(draws.to(weight), *context)
