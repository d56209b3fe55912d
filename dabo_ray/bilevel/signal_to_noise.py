"""Signal-to-noise ratio of a series of gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SignalToNoise:
    """Mean over standard error of the gradients of a module's weights, by group of weights.

    A group is what stands before the first dot of the weights' names. Its value is the root mean square, over its
    numbers, of mean / (standard deviation / sqrt(n)): about 1 for gradients of zero mean, and growing with sqrt(n)
    where there is a signal. Numbers whose gradient does not vary are left out.

    Args:
        module: whose weights the gradients belong to, in the order of its parameters.
    """

    def __init__(self, module: nn.Module) -> None:
        self.groups = [name.partition(".")[0] for name, _ in module.named_parameters()]
        self._clear()

    def _clear(self) -> None:
        self._sums: list[Tensor] = []
        self._squares: list[Tensor] = []
        self._count = 0

    def add(self, grads: Sequence[Tensor]) -> None:
        """Takes one gradient; nothing waits for the device."""
        if not self._count:
            self._sums = [torch.zeros_like(grad) for grad in grads]
            self._squares = [torch.zeros_like(grad) for grad in grads]
        torch._foreach_add_(self._sums, list(grads))
        torch._foreach_addcmul_(self._squares, list(grads), list(grads))
        self._count += 1

    def take(self) -> dict[str, float]:
        """`hypergradient_snr_<group>` of the gradients since the last call; empty for fewer than two."""
        n, found = self._count, {}
        if n >= 2:
            for group in dict.fromkeys(self.groups):
                members = [index for index, name in enumerate(self.groups) if name == group]
                mean, square = (
                    torch.cat([parts[index].flatten() for index in members]) / n
                    for parts in (self._sums, self._squares)
                )
                variance = (square - mean.square()) * (n / (n - 1))
                # What cancels in the network's odd part leaves rounding errors, which are neither signal nor noise.
                varies = variance > 1e-12 * square.max()
                if varies.any():
                    squared = mean[varies].square() / (variance[varies] / n)
                    found[f"hypergradient_snr_{group}"] = float(squared.mean().sqrt())
        self._clear()
        return found
