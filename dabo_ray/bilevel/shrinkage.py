"""An optimiser for gradients that are mostly noise: it steps as far as the evidence goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class ShrunkAdam(torch.optim.Optimizer):
    """Adam whose step is shrunk by how little its mean gradient stands out from noise.

    Adam divides by the gradient's size, so it walks as fast on noise as on a signal. Here the mean m of the latest
    gradients is compared with what independent gradients of zero mean and second moment v would give by chance:

        r = m^2 / (v (1 - beta1) / (1 + beta1))            expected to be 1 without a signal
        w = w - lr max(0, 1 - 1/r) m / sqrt(v)             the positive-part James-Stein factor

    Args:
        params: weights, or groups of them. A group with `pooled=True` has one r, the mean over its weights; otherwise
            every number has its own.
        lr: largest step of a number, >= 0.
        betas: decay of the means of the gradient and of its square, in [0, 1).
        eps: keeps numbers whose gradient is zero where they are.

    Reference: Kingma and Ba 2015 for m and v; James and Stein 1961 for the factor.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-12,
    ) -> None:
        if lr < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"lr must be >= 0 and betas in [0, 1), got {lr} and {betas}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "pooled": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update from the weights' `grad`; the closure of other optimisers is not used."""
        del closure
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            moments = [self._moments(weight, group["betas"]) for weight in weights]
            if not weights:
                continue
            count = self.state[weights[0]]["step"]
            scaled = [mean / (square.sqrt() + group["eps"]) for mean, square in moments]
            ratios = [part.square() / _variance_of_mean(group["betas"][0], count) for part in scaled]
            if group["pooled"]:
                ratios = [torch.cat([ratio.flatten() for ratio in ratios]).mean()] * len(ratios)
            for weight, part, ratio in zip(weights, scaled, ratios, strict=True):
                weight -= group["lr"] * (1 - 1 / ratio.clamp(min=1)) * part

    def _moments(self, weight: Tensor, betas: tuple[float, float]) -> tuple[Tensor, Tensor]:
        """Bias-corrected means of the gradient and of its square."""
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state |= {"step": 0, "mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
        state["step"] += 1
        state["mean"].lerp_(weight.grad, 1 - betas[0])
        state["square"].lerp_(weight.grad.square(), 1 - betas[1])
        corrections = [1 - beta ** state["step"] for beta in betas]
        return state["mean"] / corrections[0], state["square"] / corrections[1]


def _variance_of_mean(beta: float, count: int) -> float:
    """Variance of the bias-corrected moving mean of `count` independent numbers of variance 1."""
    return (1 - beta) / (1 + beta) * (1 - beta ** (2 * count)) / (1 - beta**count) ** 2
