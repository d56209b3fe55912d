"""Masks that are moved with their images by an augmenter that is learned, so that a loss sees both move."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import one_hot

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.fixed import Params
from dabo_ray.augment.functional import warp
from dabo_ray.augment.masks import IGNORED, are_masks


def augmented_by(
    augmenter: Augmenter,
    theta: Sequence[Tensor],
    images: Tensor,
    labels: Tensor,
    params: Params,
    num_classes: int | None,
) -> tuple[Tensor, Tensor]:
    """Images, and masks with them, by an augmenter with given weights.

    Args:
        augmenter: in whose place they are used.
        theta: its weights, in the order of its parameters.
        images: (B, C, H, W) in [0, 1].
        labels: of the images, which stay; or (B, H, W) masks, which become shares, see `WithMasks`.
        params: rows of `Augmenter.draw` and of `Augmenter.context`.
        num_classes: of the pixels of masks.
    """
    weights = dict(zip([name for name, _ in augmenter.named_parameters()], theta, strict=True))
    if not are_masks(labels):
        augmented: Tensor = functional_call(augmenter, weights, (images, *params))
        return augmented, labels
    assert num_classes is not None
    inner = {f"augmenter.{name}": weight for name, weight in weights.items()}
    both: tuple[Tensor, Tensor] = functional_call(WithMasks(augmenter, num_classes), inner, (images, labels, *params))
    return both


def class_planes(masks: Tensor, num_classes: int, like: Tensor) -> Tensor:
    """(B, num_classes, H, W) shares of the classes in each pixel of (B, H, W) masks; none where it is ignored."""
    known = masks != IGNORED
    planes = one_hot(masks.long() * known, num_classes) * known.unsqueeze(-1)
    return planes.permute(0, 3, 1, 2).to(like)


class WithMasks(nn.Module):
    """An augmenter that moves masks with its images, so that a loss can be differentiated through both.

    A pixel of a moved mask has shares of the classes that lie around the place where it is read (bilinear), which are
    less than 1 together where that is ignored or outside the image. What only changes tones leaves masks as they are.

    Args:
        augmenter: of the images.
        num_classes: of the pixels.

    >>> from dabo_ray.augment.affine import AffineAugmenter
    >>> both = WithMasks(AffineAugmenter(), num_classes=3)
    >>> images, masks = torch.rand(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8), dtype=torch.uint8)
    >>> moved, shares = both(images, masks, *both.augmenter.draw(2, torch.Generator().manual_seed(0)))
    >>> shares.shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(self, augmenter: Augmenter, num_classes: int) -> None:
        super().__init__()
        self.augmenter = augmenter
        self.num_classes = num_classes

    def forward(
        self, images: Tensor, masks: Tensor, draws: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Augmented images, (B, C, H, W), and (B, num_classes, H, W) shares of the classes in their pixels.

        Args:
            images: (B, C, H, W) in [0, 1].
            masks: (B, H, W) uint8.
            draws: rows of `Augmenter.draw`.
            context: rows of `Augmenter.context`.
        """
        with torch.autocast(images.device.type, enabled=False):
            decided = self.augmenter.decide(draws.to(next(self.augmenter.parameters()).dtype), context)
            planes = class_planes(masks, self.num_classes, decided[0])
            shares = warp(planes, self.augmenter.maps(decided)).to(images.dtype)
        return self.augmenter.carry_out(images, decided), shares
