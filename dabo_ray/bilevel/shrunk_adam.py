"""ShrunkAdam: an optimiser for gradients that are mostly noise; it steps as far as the evidence goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from dabo_ray.augment.augmenter import Augmenter

FULL_DISTANCE = 80.0
"""How far a logarithm of a spread could go in a whole training at the largest learning rate ..."""

LARGEST_LR = 0.05
"""... at which no update changes a spread by more than this, however few there are."""

MEMORY = 0.025
"""Part of all updates over which the gradient is averaged to tell a signal from noise."""

FURTHEST = 1.0
"""Distance from a first value from which on the prior pulls no harder."""

SHORTEST_MEMORY = 20
"""Updates that it takes to tell a signal from noise, however few there are in all."""


class ShrunkAdam(torch.optim.Optimizer):
    """Adam whose step is shrunk by how little its mean gradient stands out from noise.

    Adam divides by the gradient's size, so it walks as fast on noise as on a signal. Here the mean m of the latest
    gradients is compared with what independent gradients of zero mean and second moment l would give by chance. With
    bias-corrected moving means of the gradient g (decay beta1) and of g^2, m and v (decay beta2) and l (decay
    (1 + beta1) / 2, of the latest gradients alone), in update n:

        c = (1 - beta1) / (1 + beta1) * (1 - beta1^(2 n)) / (1 - beta1^n)^2       variance of m where that of g is 1
        z = m / (sqrt(l) + eps);  r = z^2 / c                                    r is 1 on average without a signal
        d = min(1, max(-1, w - w_0))                                             how far w is from its first value
        w = w - lr ((1 - 1 / max(1, r)) z + prior d sqrt(l) / (sqrt(v) + eps))   positive-part James-Stein factor

    A signal is compared with the noise around it, so that it is followed as fast late as early: gradients become
    smaller by an order of magnitude while a classifier learns. The prior is a drift of all weights back to their first
    values, from a distance of 1 on as fast as a signal of that many standard deviations would move them: what is to
    stay away must stand out by more. Where gradients die away, so does the drift: v is of all updates, l of the latest
    ones.

    Args:
        params: weights, or groups of them. A group with `pooled=True` has one r, the mean over its weights; otherwise
            every number has its own. In a group with `log_spread=True` numbers are logarithms of spreads s: g is
            divided by s^2, which makes it (twice) the derivative with respect to s^2, to which the effect of a small
            symmetric spread is proportional, so that gradients at small and at large spreads can be compared. `prior`
            may be set for a group.
        lr: largest step of a number, >= 0.
        betas: decay of the means of the gradient and of its square, in [0, 1).
        prior: see above, >= 0.
        eps: keeps numbers whose gradient is zero where they are.

    Reference: Kingma and Ba 2015 for m and v; James and Stein 1961 for the factor.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        prior: float = 0.0,
        eps: float = 1e-20,
    ) -> None:
        if lr < 0 or prior < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"lr and prior must be >= 0 and betas in [0, 1), got {lr}, {prior} and {betas}")
        defaults = {"lr": lr, "betas": betas, "eps": eps, "prior": prior, "pooled": False, "log_spread": False}
        super().__init__(params, defaults)

    @classmethod
    def for_augmenter(cls, augmenter: Augmenter, num_updates: int, lr: float | None = None) -> ShrunkAdam:
        """For an augmenter, with memories that are parts of its training.

        Args:
            augmenter: whose weights are learned.
            num_updates: of the augmenter in the whole training, >= 1.
            lr: None: 80 / `num_updates`, but 0.05 at most, so that a spread can go as far in a short training as in a
                long one.
        """
        return cls.over(augmenter.groups(lr or min(LARGEST_LR, FULL_DISTANCE / num_updates)), num_updates)

    @classmethod
    def over(cls, groups: list[dict[str, Any]], num_updates: int) -> ShrunkAdam:
        """With memories that are parts of a training of `num_updates` updates; every group has its `lr`."""
        memory = max(SHORTEST_MEMORY, MEMORY * num_updates)
        return cls(groups, 0.0, (1 - 1 / memory, 1 - 1 / max(memory, num_updates)))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update from the weights' `grad`; the closure of other optimisers is not used."""
        del closure
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            mean, size, latest = self._moments(weights, group)
            chance = _variance_of_mean(group["betas"][0], self.state[weights[0]]["step"])
            # One kernel for all weights of a group on a GPU.
            scaled = torch._foreach_div(mean, torch._foreach_add(latest, group["eps"]))
            ratios = torch._foreach_div(torch._foreach_mul(scaled, scaled), chance)
            if group["pooled"]:
                ratios = (torch.cat([ratio.flatten() for ratio in ratios]).mean(),) * len(ratios)
            kept = torch._foreach_reciprocal(torch._foreach_clamp_min(ratios, 1))
            torch._foreach_neg_(kept)
            torch._foreach_add_(kept, 1)
            steps = torch._foreach_mul(kept, scaled)
            if group["prior"]:
                torch._foreach_add_(steps, self._drifts(weights, group, size, latest))
            torch._foreach_sub_(weights, torch._foreach_mul(steps, group["lr"]))

    def _drifts(
        self, weights: list[Tensor], group: dict[str, Any], size: list[Tensor], latest: list[Tensor]
    ) -> list[Tensor]:
        """What the prior pulls each weight back by, over the learning rate."""
        pulls = torch._foreach_div(torch._foreach_mul(latest, group["prior"]), torch._foreach_add(size, group["eps"]))
        away = torch._foreach_sub(weights, [self.state[weight]["first"] for weight in weights])
        torch._foreach_clamp_min_(away, -FURTHEST)
        torch._foreach_clamp_max_(away, FURTHEST)
        return list(torch._foreach_mul(pulls, away))

    def _moments(self, weights: list[Tensor], group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Bias-corrected: the mean gradient; root mean squares of all gradients and of the latest."""
        grads = [weight.grad for weight in weights if weight.grad is not None]
        if group["log_spread"]:
            grads = list(torch._foreach_div(grads, torch._foreach_exp(torch._foreach_mul(weights, 2))))
        squares = torch._foreach_mul(grads, grads)
        # Twice the memory of the mean, for an estimate that is steadier than the mean itself.
        of_mean, of_square = group["betas"]
        decays = {"mean": of_mean, "square": of_square, "latest_square": (1 + of_mean) / 2}
        for weight in weights:
            state = self.state[weight]
            if not state:
                state |= {"step": 0} | {name: torch.zeros_like(weight) for name in decays}
                if group["prior"]:
                    state["first"] = weight.detach().clone()
            state["step"] += 1
        count = self.state[weights[0]]["step"]
        corrected = []
        for name, beta in decays.items():
            moments = [self.state[weight][name] for weight in weights]
            torch._foreach_lerp_(moments, grads if name == "mean" else squares, 1 - beta)
            corrected.append(list(torch._foreach_div(moments, 1 - beta**count)))
        mean, square, latest = corrected
        return mean, list(torch._foreach_sqrt(square)), list(torch._foreach_sqrt(latest))


def _variance_of_mean(beta: float, count: int) -> float:
    """Variance of the bias-corrected moving mean of `count` independent numbers of variance 1."""
    return (1 - beta) / (1 + beta) * (1 - beta ** (2 * count)) / (1 - beta**count) ** 2
