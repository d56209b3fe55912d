"""Policies in Fast AutoAugment's form, with its own operations, batched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dabo_ray.augment.autoaugment_operations import OPERATIONS, apply_chain, warped_masks
from dabo_ray.augment.erasing import inside
from dabo_ray.augment.fixed import Params, Uint8Augmentation
from dabo_ray.augment.masks import are_masks
from dabo_ray.transfer import sent_as

SubPolicy = Sequence[tuple[str, float, float]]
"""Operations one after the other: a key of `KINDS`, a probability and a level, both in [0, 1]."""


class _Kind(NamedTuple):
    operation: str
    """Of `OPERATIONS`, or `Cutout`."""
    low: float
    """The magnitude at level 0, in Fast AutoAugment's units."""
    high: float
    signed: bool = False
    """Whether its sign is turned at random."""
    of_side: bool = False
    """In widths or heights of the image; otherwise in pixels where it is a length."""


KINDS: dict[str, _Kind] = {
    "ShearX": _Kind("ShearX", -0.3, 0.3, True),
    "ShearY": _Kind("ShearY", -0.3, 0.3, True),
    "TranslateX": _Kind("TranslateX", -0.45, 0.45, True, True),
    "TranslateY": _Kind("TranslateY", -0.45, 0.45, True, True),
    "TranslateXAbs": _Kind("TranslateX", 0.0, 10.0, True),
    "TranslateYAbs": _Kind("TranslateY", 0.0, 10.0, True),
    "Rotate": _Kind("Rotate", -30.0, 30.0, True),
    "AutoContrast": _Kind("AutoContrast", 0.0, 1.0),
    "Invert": _Kind("Invert", 0.0, 1.0),
    "Equalize": _Kind("Equalize", 0.0, 1.0),
    "Solarize": _Kind("Solarize", 0.0, 256.0),
    "Posterize": _Kind("Posterize", 4.0, 8.0),
    "Posterize2": _Kind("Posterize", 0.0, 4.0),
    "Contrast": _Kind("Contrast", 0.1, 1.9),
    "Color": _Kind("Color", 0.1, 1.9),
    "Brightness": _Kind("Brightness", 0.1, 1.9),
    "Sharpness": _Kind("Sharpness", 0.1, 1.9),
    "Cutout": _Kind("Cutout", 0.0, 0.2, False, True),
    "CutoutAbs": _Kind("Cutout", 0.0, 20.0),
}
"""Name in a policy -> what it is."""

FILL = (125, 123, 114)
"""Red, green and blue levels that Cutout paints with."""

_CODES = {name: code for code, name in enumerate((*OPERATIONS, "Cutout"))}


class FastAutoAugment(Uint8Augmentation):
    """One sub-policy for each image, drawn uniformly.

    Warps take the nearest pixel, as PIL's do. Brightness to sharpness are torchvision's, within a grey level of PIL's.

    Args:
        policy: sub-policies, at least one; see `fast_autoaugment_file.read_policy` for those of a file.

    Raises:
        ValueError: the policy or one of its sub-policies is empty, or it names an operation that is none of `KINDS`.

    Reference: Lim et al. 2019.

    >>> augment = FastAutoAugment([[("Invert", 1.0, 0.5)]])
    >>> augment(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), torch.Generator().manual_seed(0)).flatten().tolist()
    [1.0, 0.0]
    """

    def __init__(self, policy: Sequence[SubPolicy]) -> None:
        unknown = {name for sub in policy for name, _, _ in sub} - KINDS.keys()
        if unknown or not policy or not all(policy):
            given = f"operations {sorted(unknown)}" if unknown else "an empty policy or sub-policy"
            raise ValueError(f"got {given}; give sub-policies of {', '.join(KINDS)}")
        length = max(len(sub) for sub in policy)
        # A probability under zero is never met: sub-policies may differ in length.
        padded = [[*sub, *(length - len(sub)) * [("Invert", -1.0, 0.0)]] for sub in policy]
        kinds = [[KINDS[name] for name, _, _ in sub] for sub in padded]
        self.codes = torch.tensor([[_CODES[kind.operation] for kind in row] for row in kinds])
        self.probabilities = torch.tensor([[probability for _, probability, _ in sub] for sub in padded])
        levels = torch.tensor([[level for _, _, level in sub] for sub in padded], dtype=torch.float64)
        low, high = (torch.tensor([[kind[i] for kind in row] for row in kinds], dtype=torch.float64) for i in (1, 2))
        self.values = low + levels * (high - low)
        self.signed = torch.tensor([[kind.signed for kind in row] for row in kinds])
        self.of_side = torch.tensor([[kind.of_side for kind in row] for row in kinds])

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """The sub-policy; which of its operations are used; signs to turn; centres of cutouts in [0, 1) of y and x."""
        shape = (num_images, self.codes.shape[1])
        chosen = torch.randint(len(self.codes), (num_images,), generator=generator)
        used = torch.rand(shape, generator=generator) <= self.probabilities[chosen]
        negative = torch.rand(shape, generator=generator) > 0.5
        return chosen, used, negative, torch.rand((*shape, 2), generator=generator, dtype=torch.float64)

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Run each image's sub-policy."""
        centres = params[-1]
        codes, values, cuts = self._chosen(images, params)
        operations, magnitudes = _chain(codes, values)
        for step in range(codes.shape[1]):
            images = apply_chain(images, operations[:, step, None], magnitudes[:, step, None])
            if cuts[:, step].any():
                images = _cut_out(images, values[:, step], centres[:, step], cuts[:, step])
        return images

    def targets(self, labels: Tensor, images: Tensor, params: Params) -> Tensor:
        """Labels as they are, masks moved."""
        if not are_masks(labels):
            return labels
        codes, values, _ = self._chosen(images, params)
        return warped_masks(labels, *_chain(codes, values))

    def _chosen(self, images: Tensor, params: Params) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N) operations, their values, and which of them are cutouts."""
        chosen, used, negative, _ = params
        codes = self.codes[chosen].where(used, _CODES["Identity"])
        height, width = images.shape[-2:]
        side = torch.where(codes == _CODES["TranslateY"], height, width)
        values = self.values[chosen] * torch.where(self.of_side[chosen], side, 1)
        values = torch.where(negative & self.signed[chosen], -values, values)
        cuts = (codes == _CODES["Cutout"]) & ~(self.of_side[chosen] & (values <= 0))
        return codes, values, cuts


def _chain(codes: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Operations and magnitudes, see `apply_chain`; cutouts left out."""
    return codes.masked_fill(codes == _CODES["Cutout"], _CODES["Identity"]), _as_torchvision(values, codes)


def _as_torchvision(values: Tensor, codes: Tensor) -> Tensor:
    """The magnitudes of `OPERATIONS` for those of Fast AutoAugment."""
    # PIL reads output pixel x at floor(x + 1/2 + value): the image moves by whole pixels, the other way.
    moved = -(values + 0.5).floor()
    converted = {
        "TranslateX": moved,
        "TranslateY": moved,
        "Posterize": values.floor(),
        # Levels are whole: a threshold half way between two of them is safe from rounding.
        "Solarize": (values.ceil() - 0.5) / 255,
        **dict.fromkeys(("Contrast", "Color", "Brightness", "Sharpness"), values - 1),
    }
    for operation, magnitudes in converted.items():
        values = torch.where(codes == _CODES[operation], magnitudes, values)
    return values.float()


def _cut_out(images: Tensor, sizes: Tensor, centres: Tensor, chosen: Tensor) -> Tensor:
    """Paint a square about a point in the chosen images, with the border that PIL's rectangle adds at its end."""
    sides = torch.tensor(images.shape[-2:])
    first = (centres * sides - sizes[:, None] / 2).clamp(min=0).floor()
    end = torch.where(chosen[:, None], (first + sizes[:, None]).floor() + 1, first)
    colour = sent_as(torch.tensor(FILL), images) / 255
    if images.shape[1] == 1:
        colour = colour.mean(dim=0, keepdim=True)
    painted = inside(first, end, images)
    return (images * (1 - painted)).add_(colour[:, None, None] * painted)
