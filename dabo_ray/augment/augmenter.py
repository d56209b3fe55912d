"""Augmenters: distributions of image transformations with weights that can be learned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, one_hot

from dabo_ray.augment.fixed import Params
from dabo_ray.augment.mlp import MLP, dropout_masks

Conditioning = Literal["none", "class", "image"]

GEOMETRIC = frozenset({"flip", "rotation", "scale", "aspect", "shear", "linear", "translation"})
"""Operations that move pixels and leave them as they are."""

POOLED_SIDE = 4
"""An augmenter that sees the image sees it averaged over this many parts along each side, three channels."""


class Augmenter(nn.Module, ABC):
    """A distribution of image transformations with weights that can be learned.

    An augmenter is called with images, (B, C, H, W), C = 1 or 3, floating point in [0, 1], their rows of `draw`, and
    with a conditioning those of `context`: `augmenter(images, *augmenter.draw(len(images), generator))`.

    All that is random about a batch is one tensor of independent uniform numbers in (-1, 1), a row per image. Its
    columns are the network's noise; then chances: one per hidden unit if there is dropout, and what the augmenter
    itself decides by chance (orders, whether to do something).

    Args:
        noise: dimension of the noise; None for one per number that the transformation takes.
        hidden: units of each hidden layer, or a list with the units of each.
        depth: hidden layers of one width, None for one; not needed where `hidden` names a width for each.
        centred: take the odd part of the network, (f(z) - f(-z)) / 2: the noise is symmetric, so the mean of the
            numbers is zero whatever the weights, and only the spread is learned. Otherwise the centre may move.
        dropout: part of the hidden units that is left out, drawn anew for each image, in [0, 1). It belongs to the
            distribution: units are left out whenever it is drawn from, after learning too.
        operations: some of the keys of `OPERATIONS`, each once; None for all.
        conditioning: what the distribution may depend on: nothing, the image's label ("class"), or the image.
        num_classes: labels there are, for `conditioning="class"`; unused otherwise.

    Raises:
        ValueError: an argument is out of its range or contradicts another.
    """

    OPERATIONS: ClassVar[dict[str, tuple[int, ...]]]
    """Operation -> which of the transformation's numbers belong to it."""

    ACTIVATION: ClassVar[type[nn.Module]] = nn.ReLU

    def __init__(
        self,
        *,
        noise: int | None = None,
        hidden: int | Sequence[int] = 32,
        depth: int | None = None,
        centred: bool = True,
        dropout: float = 0.0,
        operations: Sequence[str] | None = None,
        conditioning: Conditioning = "none",
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        self.operations = _chosen(operations, self.OPERATIONS)
        self.used = sorted(place for name in self.operations for place in self.OPERATIONS[name])
        self.widths = _widths(hidden, depth)
        self.noise = max(1, len(self.used)) if noise is None else noise
        self.centred, self.dropout, self.conditioning = centred, dropout, conditioning
        self.num_classes = num_classes if conditioning == "class" else 0
        if self.noise < 1:
            raise ValueError(f"noise must have at least one dimension, got {self.noise}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.conditioning == "class" and self.num_classes < 1:
            raise ValueError(f"conditioning on the class needs num_classes, at least 1, got {self.num_classes}")
        sizes = {"none": 0, "class": self.num_classes, "image": 3 * POOLED_SIDE**2}
        if conditioning not in sizes:
            raise ValueError(f"conditioning must be one of {', '.join(sizes)}, got {conditioning!r}")
        outputs = len(self.used) + self.even_outputs()
        self.network = MLP(self.noise + sizes[conditioning], self.widths, outputs, self.ACTIVATION)
        self.add_weights()

    def add_weights(self) -> None:
        """Adds the weights beside the network's, with their first values; the end of the constructor."""

    def even_outputs(self) -> int:
        """Outputs of the network beside the transformation's numbers, taken even in the noise."""
        return 0

    def chances(self) -> int:
        """Columns of chance beside dropout's."""
        return 0

    @property
    def arguments(self) -> dict[str, Any]:
        """What to call the class with for another like this one, in values that JSON can hold."""
        return {
            "noise": self.noise,
            "hidden": list(self.widths),
            "centred": self.centred,
            "dropout": self.dropout,
            "operations": list(self.operations),
            "conditioning": self.conditioning,
            "num_classes": self.num_classes,
        }

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """The random numbers of a batch, on the CPU: one tensor, (B, columns), in (-1, 1)."""
        units = sum(self.widths) if self.dropout else 0
        return (torch.rand(num_images, self.noise + units + self.chances(), generator=generator).mul_(2).sub_(1),)

    def context(self, images: Tensor, labels: Tensor | None) -> Params:
        """What the distribution is conditioned on, to be appended to the draws; nothing without conditioning.

        Args:
            images: (B, C, H, W) before augmentation, C = 1 or 3, in [0, 1].
            labels: (B,) whole numbers; needed for conditioning on the class.

        Raises:
            ValueError: there are no labels though the class decides.
        """
        if self.conditioning == "none":
            return ()
        weight = next(self.parameters())
        if self.conditioning == "image":
            pooled = adaptive_avg_pool2d(images.to(weight.dtype), POOLED_SIDE)
            return (pooled.expand(-1, 3, -1, -1).flatten(1) - 0.5,)
        if labels is None:
            raise ValueError("this augmenter depends on the class of the image; give the labels too")
        return (one_hot(labels.long(), self.num_classes).to(weight.dtype),)

    def antithetic(self, params: Params) -> Params:
        """The same draws with the noise negated; chances and context stay, so that what is odd in the noise cancels."""
        draws, *context = params
        return torch.cat((-draws[:, : self.noise], draws[:, self.noise :]), 1), *context

    def raw(self, draws: Tensor, context: Tensor | None = None) -> Tensor:
        """The network's numbers for each row, (B, outputs), before they become a transformation."""
        noise = draws[:, : self.noise]
        fixed = [] if context is None else [context.to(noise)]
        masks = self._dropout_masks(draws)
        if not self.centred:
            free: Tensor = self.network(torch.cat((noise, *fixed), 1), masks)
            return free
        both = torch.cat((torch.cat((noise, -noise)), *(torch.cat((part, part)) for part in fixed)), 1)
        positive, negative = self.network(both, [torch.cat((mask, mask)) for mask in masks]).chunk(2)
        odd: Tensor = (positive - negative) / 2
        if not self.even_outputs():
            return odd
        return torch.cat((odd[:, : len(self.used)], (positive + negative)[:, len(self.used) :] / 2), 1)

    def _dropout_masks(self, draws: Tensor) -> list[Tensor]:
        if not self.dropout:
            return []
        return dropout_masks(draws[:, self.noise : self.noise + sum(self.widths)], self.dropout, self.widths)

    def embed(self, numbers: Tensor) -> Tensor:
        """Numbers of the operations in use, (B, len(used)), among those of all operations, the others zero."""
        total = sum(map(len, self.OPERATIONS.values()))
        if len(self.used) == total:
            return numbers
        columns = [torch.zeros_like(numbers.sum(1))] * total
        for place, column in zip(self.used, numbers.unbind(1), strict=True):
            columns[place] = column
        return torch.stack(columns, 1)

    def forward(self, images: Tensor, draws: Tensor, context: Tensor | None = None) -> Tensor:
        """Transform (B, C, H, W) images in [0, 1] by their rows of `draw` and `context`.

        Differentiable in images and weights. The type of the images is kept; it is computed in that of the weights if
        it is wider, under autocast too: with the 8 bits of bfloat16 a place in the image is off by half a pixel of 256.
        """
        with _without_autocast(images.device.type):
            return self.carry_out(images, self.decide(draws.to(next(self.parameters()).dtype), context))

    def carry_out(self, images: Tensor, decided: Params) -> Tensor:
        """As `forward`, for what is decided already."""
        with _without_autocast(images.device.type):
            return self.change(images.to(torch.promote_types(images.dtype, decided[0].dtype)), decided).to(images.dtype)

    @property
    def is_geometric(self) -> bool:
        """Whether it moves pixels and looks at none: then any number of channels and any range of values will do."""
        return GEOMETRIC.issuperset(self.operations) and self.conditioning != "image"

    def rest(self) -> bool:
        """Leave images as they are, to what can be seen, until `wake`; False, and no change, if that cannot be done."""
        return False

    def wake(self) -> None:
        """Do again what was done before `rest`."""

    @abstractmethod
    def decide(self, draws: Tensor, context: Tensor | None = None) -> Params:
        """What is done to each image, as tensors with a row for each: all that the weights have a part in."""

    @abstractmethod
    def change(self, images: Tensor, decided: Params) -> Tensor:
        """Do it: (B, C, H, W) images, of a type at least as wide as that of `decided`, after their rows of it."""

    @abstractmethod
    def maps(self, decided: Params) -> Tensor:
        """(B, 2, 3) maps that say where the changed images' pixels come from, see `functional.warp`."""

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """The weights for an optimiser, in groups that learn alike; keys beside `lr` are for `ShrunkAdam`."""
        return [{"params": list(self.parameters()), "lr": lr, "pooled": True}]

    @abstractmethod
    def samples(self, draws: Tensor, context: Tensor | None = None) -> dict[str, Tensor]:
        """What the drawn transformations do to a picture, in the units of a person: quantity -> (N,) values.

        The name of a quantity ends with its unit: `_deg`, `_percent` (of the side, or of the neutral value) or
        `_factor`; `probability_<operation>` is how likely that is done at all.
        """

    @abstractmethod
    def spread(self, draws: Tensor, context: Tensor | None = None) -> dict[str, float]:
        """The learned distribution in a few numbers for the records of a training, estimated from N draws."""


def _chosen(operations: Sequence[str] | None, known: dict[str, tuple[int, ...]]) -> tuple[str, ...]:
    """The operations in their own order."""
    if operations is None:
        return tuple(known)
    if not operations or len(set(operations)) < len(operations) or not set(operations) <= known.keys():
        raise ValueError(f"operations are {list(operations)}; name some of these, each once: {', '.join(known)}")
    return tuple(name for name in known if name in operations)


def _widths(hidden: int | Sequence[int], depth: int | None) -> tuple[int, ...]:
    widths = (hidden,) * (1 if depth is None else depth) if isinstance(hidden, int) else tuple(hidden)
    if depth is not None and len(widths) != depth:
        raise ValueError(f"hidden names {len(widths)} layers, {list(widths)}, but depth is {depth}; leave depth out")
    if any(width < 1 for width in widths):
        raise ValueError(f"hidden layers need at least one unit, got {list(widths)}")
    return widths


def _without_autocast(device: str) -> AbstractContextManager[object]:
    is_on = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if is_on else nullcontext()
