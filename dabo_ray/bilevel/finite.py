"""Guard against losses, gradients and weights that are not finite, without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Diverged(Exception):
    """A loss or a gradient is no longer finite; the weights are those before the update that would have spoilt them.

    Args:
        update: its number, counted from 0.
        message: for people.
    """

    def __init__(self, update: int, message: str = "") -> None:
        super().__init__(message or f"a loss or a gradient is not finite at update {update}; lower the learning rate")
        self.update = update


class FiniteGuard:
    """Remembers the first update with a value that is not finite; from then on nothing moves.

    A GPU is not looked at in every update, which would stop it: `kept` decides on the device, and `raise_if_diverged`
    tells of it later. On the CPU `check` raises at once.

    Args:
        device: of the tensors.
    """

    def __init__(self, device: torch.device) -> None:
        self.update = 0
        """Number of the update in hand."""
        self._raises_at_once = device.type == "cpu"
        self._first = torch.full((), -1, device=device)

    def check(self, *values: Tensor) -> None:
        """Takes scalars of the update in hand.

        Raises:
            Diverged: on the CPU, where one of them is not finite.
        """
        is_bad = ~torch.stack([value.detach() for value in values]).isfinite().all()
        self._first = torch.where((self._first < 0) & is_bad, self.update, self._first)
        if self._raises_at_once:
            self.raise_if_diverged()

    def kept(self, new: Sequence[Tensor], old: Sequence[Tensor]) -> list[Tensor]:
        """The new tensors; once a value was not finite, copies of the old ones."""
        if self._raises_at_once:
            return list(new)
        is_good = self._first < 0
        return [torch.where(is_good, a.detach(), b.detach()) for a, b in zip(new, old, strict=True)]

    def raise_if_diverged(self) -> None:
        """Looks at the device.

        Raises:
            Diverged: a value was not finite.
        """
        if (update := int(self._first)) >= 0:
            raise Diverged(update)
