"""Learned augmenters whose weights no longer change, from a file too, used like fixed augmentations."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.export import load_augmenter
from dabo_ray.augment.fixed import FixedAugmentation, Params
from dabo_ray.augment.functional import nearest
from dabo_ray.augment.masks import are_masks, moved_masks
from dabo_ray.transfer import sent


class AugmenterFileError(ValueError):
    """A file of a learned augmenter that cannot be used; the message names what is wrong."""


class FrozenAugmenter(FixedAugmentation):
    """An augmenter whose weights do not change, used like any fixed augmentation.

    With a conditioning the rows of `context` follow those of `draw`; without, it may be called as others are.

    Args:
        augmenter: learned or not; it is not copied, and its weights need no gradients from now on.

    >>> from dabo_ray.augment.affine import AffineAugmenter
    >>> augment = FrozenAugmenter(AffineAugmenter())
    >>> images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> augment(images, torch.Generator().manual_seed(1)).requires_grad
    False
    """

    def __init__(self, augmenter: Augmenter) -> None:
        self.augmenter = augmenter.requires_grad_(False)

    def to(self, device: torch.device) -> Self:
        """Itself, with the augmenter's weights moved."""
        self.augmenter.to(device)
        return self

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Random numbers for the augmenter."""
        return self.augmenter.draw(num_images, generator)

    def context(self, images: Tensor, labels: Tensor | None) -> Params:
        """What the augmenter's distribution depends on, see `Augmenter.context`."""
        return self.augmenter.context(images, labels)

    def targets(self, labels: Tensor, images: Tensor, params: Params) -> Tensor:
        """Labels as they are, masks moved; `params` as for `apply`."""
        if not are_masks(labels):
            return labels
        draws, *context = sent(params, images.device)
        maps = self.augmenter.maps(self.augmenter.decide(draws, *context))
        return moved_masks(labels, lambda levels: nearest(levels, maps))

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """The augmenter's transformations; `params` are what was drawn and, where there is one, the context."""
        return self.augmenter(images, *sent(params, images.device))  # type: ignore[no-any-return]


def read_frozen(path: Path, num_classes: int) -> FrozenAugmenter:
    """The learned distribution of a file.

    Args:
        path: what `export.save` wrote.
        num_classes: of the data to augment.

    Raises:
        AugmenterFileError: there is no such file, it is damaged or of another version, or it depends on the class and
            was learned on other classes.
    """
    try:
        augmenter = load_augmenter(path)
    except (ValueError, OSError) as error:
        raise AugmenterFileError(f"cannot use the augmenter file: {error}") from None
    if augmenter.conditioning == "class" and augmenter.num_classes != num_classes:
        raise AugmenterFileError(
            f"the augmenter file {path} depends on the class and was learned on {augmenter.num_classes} classes, the "
            f"data have {num_classes}; give one that was learned without conditioning, or on the same classes"
        )
    return FrozenAugmenter(augmenter)
