"""A bilevel problem in float64 and the plain way to its hypergradient: differentiate through all of training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, dropout

from dabo_ray.augment.affine import AffineMatrixAugmenter
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.bilevel.dropout import Masks, dropout_by
from dabo_ray.bilevel.hypergradient import InnerProblem, InnerStep
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.sgd import Sgd
from dabo_ray.data.sources import load
from dabo_ray.workers import Workers


class Given(nn.Module):
    """Dropout as a product with factors; the `index`-th of its network."""

    def __init__(self, p: float, index: int) -> None:
        super().__init__()
        self.p, self.index = p, index
        self.masks: Masks | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.masks is None:
            return x
        with dropout_by(self.masks) as mode:
            mode.calls = self.index
            return x * dropout(torch.ones_like(x), self.p)


@dataclass
class Problem:
    """A window of updates of a real network on digits, from a state with momentum already in it.

    Only the forward passes are shared with the code under test.
    """

    network: nn.Module
    augmenter: Augmenter
    sgd: Sgd
    num_steps: int
    inner_steps: int
    """Updates that share an augmenter (M)."""

    images_per_step: int = 6
    label_smoothing: float = 0.0
    weights: list[Tensor] = field(init=False)
    velocity: list[Tensor] = field(init=False)
    clipped: list[bool] = field(default_factory=list, init=False)
    """Of the updates of `unrolled_loss`."""

    thetas: list[list[Tensor]] = field(init=False)

    def __post_init__(self) -> None:
        self.network.double().train()
        self.augmenter.double()
        generator = torch.Generator().manual_seed(1)

        def like(tensors, scale):
            return [scale * torch.randn(t.shape, dtype=torch.float64, generator=generator) for t in tensors]

        self.weights = [weight.detach().clone() for weight in self.network.parameters()]
        self.velocity = like(self.weights, 0.01)
        theta = [weight.detach().clone() for weight in self.augmenter.parameters()]
        self.thetas = [
            [weight + noise for weight, noise in zip(theta, like(theta, 0.05), strict=True)]
            for _ in range(-(-self.num_steps // self.inner_steps))
        ]
        digits = load("digits", Path()).labelled
        self.images = digits.images.double() / 255
        self.labels = digits.labels
        (drawn,) = self.augmenter.draw(len(digits), generator)
        context = self.augmenter.context(self.images, self.labels)
        self.params = (drawn.double(), *context)
        objective = Objective(
            self.network, partial(cross_entropy, reduction="sum", label_smoothing=self.label_smoothing)
        )
        self.inner = InnerProblem(
            lambda theta, images, labels, params: (self.augment(theta, images, params), labels),
            lambda weights, images, *others: objective.loss(weights, images.double(), *others),
        )
        self.has_dropout = objective.has_dropout
        self.plain = copy.deepcopy(self.network)
        drops = [(name, part.p) for name, part in self.network.named_children() if isinstance(part, nn.Dropout)]
        for index, (name, p) in enumerate(drops):
            setattr(self.plain, name, Given(p, index))

    def augment(self, theta, images: Tensor, params: tuple[Tensor, ...]):
        names = [name for name, _ in self.augmenter.named_parameters()]
        return functional_call(self.augmenter, dict(zip(names, theta, strict=True)), (images, *params))

    def loss(self, weights, images: Tensor, labels: Tensor, size: int, masks: Masks | None = None) -> Tensor:
        for part in self.plain.modules():
            if isinstance(part, Given):
                part.masks = masks
        values = dict(zip((name for name, _ in self.plain.named_parameters()), weights, strict=True))
        values |= {name: buffer.clone() for name, buffer in self.plain.named_buffers()}
        scores = functional_call(self.plain, values, (images.double(),))
        return cross_entropy(scores, labels, reduction="sum", label_smoothing=self.label_smoothing) / size

    def rows(self, number: int) -> slice:
        return slice(number * self.images_per_step, (number + 1) * self.images_per_step)

    def params_of(self, rows: slice) -> tuple[Tensor, ...]:
        return tuple(part[rows] for part in self.params)

    def masks(self, number: int) -> Masks | None:
        return Masks(number, Workers(), self.images_per_step) if self.has_dropout else None

    def lr(self, number: int) -> float:
        return 0.1 / (1 + 0.3 * number)

    def outer_loss(self, weights) -> Tensor:
        rows = slice(-16, None)
        return self.loss(weights, self.images[rows], self.labels[rows], 16)

    def window(self) -> tuple[list[InnerStep], list[Tensor]]:
        """The updates as training makes them, one after the other without a graph; and the weights after the last."""
        weights, velocity = [w.clone().requires_grad_() for w in self.weights], [m.clone() for m in self.velocity]
        steps = []
        for number in range(self.num_steps):
            rows = self.rows(number)
            theta = [part.clone().requires_grad_() for part in self.thetas[number // self.inner_steps]]
            steps.append(
                InnerStep(
                    weights=weights,
                    theta=theta,
                    images=self.images[rows],
                    labels=self.labels[rows],
                    params=self.params_of(rows),
                    size=self.images_per_step,
                    sgd=self.sgd.with_lr(self.lr(number)),
                    masks=self.masks(number),
                )
            )
            augmented = self.augment(theta, self.images[rows], self.params_of(rows)).detach()
            loss = self.loss(weights, augmented, self.labels[rows], self.images_per_step, self.masks(number))
            grads = torch.autograd.grad(loss, weights)
            steps[-1] = replace(steps[-1], grads=list(grads))
            weights = [w.detach().clone().requires_grad_() for w in weights]
            steps[-1].sgd.step(weights, velocity, grads)
        return steps, weights

    def outer_grad(self, weights) -> list[Tensor]:
        return list(torch.autograd.grad(self.outer_loss(weights), weights))

    def unrolled_loss(self, thetas, *, create_graph: bool) -> Tensor:
        """The outer loss as a function of all augmenters of the window; SGD is written out as its definition reads."""
        weights = [w.clone().requires_grad_() for w in self.weights]
        velocity = self.velocity
        (rule,) = self.sgd.groups
        mu, decay = rule.momentum, rule.weight_decay
        for number in range(self.num_steps):
            rows = self.rows(number)
            augmented = self.augment(thetas[number // self.inner_steps], self.images[rows], self.params_of(rows))
            loss = self.loss(weights, augmented, self.labels[rows], self.images_per_step, self.masks(number))
            grads = list(torch.autograd.grad(loss, weights, create_graph=create_graph))
            if self.sgd.clip_norm is not None:
                norm = torch.cat([g.flatten() for g in grads]).square().sum().sqrt()
                self.clipped.append(bool(norm > self.sgd.clip_norm))
                grads = [g * (self.sgd.clip_norm / (norm + 1e-6)) if self.clipped[-1] else g for g in grads]
            if self.sgd.differentiate == "direction":
                norm = torch.cat([g.flatten() for g in grads]).square().sum().sqrt()
                grads = [g * (norm.detach() / norm) for g in grads]
            d = [g + decay * w for g, w in zip(grads, weights, strict=True)]
            velocity = [mu * m + part for m, part in zip(velocity, d, strict=True)]
            direction = [part + mu * m for part, m in zip(d, velocity, strict=True)] if rule.nesterov else velocity
            weights = [w - self.lr(number) * part for w, part in zip(weights, direction, strict=True)]
        return self.outer_loss(weights)

    def unrolled_hypergradient(self) -> list[Tensor]:
        """Double backward through every update at once, summed over the augmenters of the window."""
        thetas = [[part.clone().requires_grad_() for part in theta] for theta in self.thetas]
        flat = [part for theta in thetas for part in theta]
        grads = torch.autograd.grad(self.unrolled_loss(thetas, create_graph=True), flat)
        size = len(thetas[0])
        return [sum(grads[index::size], torch.zeros(())) for index in range(size)]


MakeProblem = Callable[..., Problem]


@pytest.fixture
def make_problem() -> MakeProblem:
    """Makes a problem; the network's and the augmenter's first weights are always the same."""

    def make(
        network: nn.Module,
        *,
        num_steps: int = 1,
        inner_steps: int = 1,
        sgd: Sgd = Sgd.of(),
        form: type[Augmenter] = AffineMatrixAugmenter,
        label_smoothing: float = 0.0,
        **options: Any,
    ) -> Problem:
        augmenter = form(hidden=8, **options)
        return Problem(network, augmenter, sgd, num_steps, inner_steps, label_smoothing=label_smoothing)

    torch.manual_seed(0)
    return make


def relative_error(ours, theirs) -> float:
    """Of all tensors as one vector, so that a small tensor is not judged by its own rounding."""
    ours, theirs = (torch.cat([part.detach().flatten() for part in parts]) for parts in (ours, theirs))
    return float((ours - theirs).norm() / theirs.norm())


@pytest.fixture(name="relative_error")
def _relative_error():
    return relative_error
