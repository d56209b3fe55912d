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

    A GPU is not looked at in every update, which would stop it: `skipped` and `kept` decide on the device, and
    `raise_if_diverged` tells of it later. On the CPU `check` raises at once.

    Args:
        device: of the tensors.
    """

    def __init__(self, device: torch.device) -> None:
        self._raises_at_once = device.type == "cpu"
        self._update = torch.zeros((), dtype=torch.int64, device=device)
        self._first = torch.full_like(self._update, -1)

    def begin(self, update: int) -> None:
        """Takes the number of the update in hand."""
        self._update.fill_(update)

    @torch.no_grad()
    def check(self, *values: Tensor) -> None:
        """Takes scalars of the update in hand.

        Raises:
            Diverged: on the CPU, where one of them is not finite.
        """
        is_bad = ~torch.stack([value.detach() for value in values]).isfinite().all()
        self._first.copy_(torch.where((self._first < 0) & is_bad, self._update, self._first))
        if self._raises_at_once:
            self.raise_if_diverged()

    @property
    def skipped(self) -> Tensor | None:
        """1 once a value was not finite, else 0: a float32 scalar on the device. None on the CPU, where it is never."""
        return None if self._raises_at_once else (self._first >= 0).float()

    @torch.no_grad()
    def kept(self, new: Sequence[Tensor], old: Sequence[Tensor]) -> list[Tensor]:
        """The new tensors; once a value was not finite, copies of the old ones.

        All tensors of a type are chosen between by one kernel.
        """
        if self._raises_at_once:
            return list(new)
        kept = list(new)
        for dtype in {tensor.dtype for tensor in new}:
            places = [place for place, tensor in enumerate(new) if tensor.dtype == dtype]
            a, b = (torch.cat([tensors[place].reshape(-1) for place in places]) for tensors in (new, old))
            chosen = torch.split(torch.where(self._first < 0, a, b), [new[place].numel() for place in places])
            for place, values in zip(places, chosen, strict=True):
                kept[place] = values.view(new[place].shape)
        return kept

    def raise_if_diverged(self) -> None:
        """Looks at the device.

        Raises:
            Diverged: a value was not finite.
        """
        if (update := int(self._first)) >= 0:
            raise Diverged(update)
