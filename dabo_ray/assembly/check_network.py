"""Trial of a network that is not this package's: whether learned augmentation can be trained with it."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from dabo_ray.bilevel.double_backward.network import differentiated_twice
from dabo_ray.bilevel.dropout import Masks
from dabo_ray.bilevel.objective import Objective
from dabo_ray.importing import ImportedError
from dabo_ray.workers import Workers

MOST_IMAGES = 4
NOISE = 0.02
"""Standard deviation of what is added to first weights."""

SHOWN = 3
"""Names that a message lists."""


def check_network(objective: Objective, images: Tensor, labels: Tensor, num_classes: int, name: str) -> None:
    """Does with one batch what training does with every one.

    Args:
        objective: the network in training, with its loss.
        images: (B, C, H, W) in [0, 1], so many as a worker gets of a batch, at most.
        labels: (B,), or masks, (B, H, W).
        num_classes: of the data.
        name: of the network, for messages.

    Raises:
        ImportedError: it fails, gives no scores of the classes, or cannot be repeated or differentiated twice.
    """
    network = objective.classifier.train()
    images, labels = images[:MOST_IMAGES], labels[:MOST_IMAGES]
    size = len(images)
    generator = torch.Generator().manual_seed(0)
    # Branches often begin with zeros, and what is wrong in them would not be seen.
    weights = [
        (weight.detach() + NOISE * torch.randn(weight.shape, generator=generator)).requires_grad_()
        for weight in network.parameters()
    ]
    masks = Masks(0, Workers(), size) if objective.has_dropout else None
    try:
        scores = objective.scores(weights, images)
        wanted = (size, num_classes, *labels.shape[1:])
        if not isinstance(scores, Tensor) or scores.shape != wanted:
            shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ImportedError(
                f"{name} gives {shape} for {size} images of {num_classes} classes; it must give "
                f"{wanted} scores before softmax"
            )
        first, again = (objective.loss(weights, images, labels, size, masks) for _ in range(2))
    except ImportedError:
        raise
    except Exception as error:
        raise ImportedError(_failure(name, images, error)) from error
    if not torch.allclose(first, again, rtol=1e-4, atol=1e-6, equal_nan=True):
        raise ImportedError(
            f"{name} gives another loss when the same batch is passed again, so its updates cannot be differentiated: "
            f"{_listed(_random_parts(network)) or 'something in it is drawn anew'}. nn.Dropout is repeated with its "
            "masks; replace or switch off what else is random"
        )
    grads = torch.autograd.grad(first, weights, allow_unused=True)
    names = [each for each, _ in network.named_parameters()]
    if unused := [each for each, grad in zip(names, grads, strict=True) if grad is None]:
        raise ImportedError(
            f"{name} has {len(unused)} parameters that its scores do not depend on: {_listed(unused)}; remove them"
        )
    _differentiate_twice(objective, weights, images, labels, masks, name)


def _differentiate_twice(
    objective: Objective, weights: list[Tensor], images: Tensor, labels: Tensor, masks: Masks | None, name: str
) -> None:
    augmented = images.clone().requires_grad_()
    try:
        with differentiated_twice(in_weights=True):
            value = objective.loss(weights, augmented, labels, len(images), masks)
        grads = torch.autograd.grad(value, weights, create_graph=True)
        along = sum((grad * grad.detach()).sum() for grad in grads)
        assert isinstance(along, Tensor)
        # Unlike autograd.grad, which leaves out what has no derivative and makes zeros of it.
        along.backward()  # type: ignore[no-untyped-call]
    except Exception as error:
        way_out = "compute it from operations of torch that have second derivatives"
        if "attention" in str(error):
            way_out = (
                "torch's fused attention has none: call it within torch.nn.attention.sdpa_kernel(SDPBackend.MATH), or "
                "write it out as softmax(q k^T) v"
            )
        raise ImportedError(f"{name} cannot be differentiated twice ({_first_line(error)}); {way_out}") from error


def _failure(name: str, images: Tensor, error: Exception) -> str:
    size, *shape = images.shape
    told = f"{name} fails for {size} images of {'x'.join(map(str, shape))}: {_first_line(error)}"
    if "more than 1 value per channel" in str(error):
        return (
            f"{told}. Batch normalisation has one value for each channel there: give a worker more images "
            "(classifier.batch_size), larger ones (data.image_size), or use group normalisation"
        )
    return told


def _random_parts(network: nn.Module) -> list[str]:
    """Modules that drop something and are not nn.Dropout."""
    return [
        f"{name.removeprefix('1.')} ({type(part).__name__})"
        for name, part in network.named_modules()
        if re.search("drop|stochastic", type(part).__name__.lower()) and not isinstance(part, nn.Dropout)
    ]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
