"""Images mixed with others of their batch, and labels likewise: mixup and CutMix.

The partner is the image before in the batch, whose order is random: it is the whole batch that these work on, not a
worker's share of it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dabo_ray.augment.erasing import inside
from dabo_ray.augment.fixed import AnyDtypeAugmentation, FixedAugmentation, Params, check_batch
from dabo_ray.augment.functional import per_image
from dabo_ray.transfer import sent_as


class Mixup(FixedAugmentation):
    """share * image + (1 - share) * partner, with share from Beta(alpha, alpha), one for each image.

    Args:
        num_classes: of the labels.
        alpha: > 0; small: nearly one of the two, 1: uniform.

    Raises:
        ValueError: alpha is not over 0.

    Reference: Zhang et al. 2018; torchvision's `MixUp`, which draws one share for a batch.

    >>> images, labels = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), torch.tensor([0, 1])
    >>> mixup = Mixup(2)
    >>> params = mixup.draw(2, torch.Generator().manual_seed(0))
    >>> torch.allclose(mixup.apply(images, params).flatten(), mixup.targets(labels, images, params)[:, 1])
    True
    """

    def __init__(self, num_classes: int, *, alpha: float = 1.0) -> None:
        _check_alpha(alpha)
        self.num_classes, self.alpha = num_classes, alpha

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """The share of the image itself."""
        return (dirichlet(self.alpha, num_images, 2, generator)[:, 0],)

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Blend each image with the one before it."""
        check_batch(images, params)
        share = per_image(sent_as(params[0], images))
        return images * share + images.roll(1, 0) * (1 - share)

    def targets(self, labels: Tensor, images: Tensor, params: Params) -> Tensor:
        """(B, num_classes) shares of the classes."""
        return mixed_labels(labels, self.num_classes, sent_as(params[0], images, torch.float32))


class CutMix(AnyDtypeAugmentation):
    """A rectangle of the partner in each image, with an area of 1 - share, share from Beta(alpha, alpha).

    The rectangle's centre is any pixel; what lies outside the image is lost, and the labels follow what is left.

    Args:
        num_classes: of the labels.
        alpha: > 0.

    Raises:
        ValueError: alpha is not over 0.

    Reference: Yun et al. 2019; torchvision's `CutMix`, which draws one rectangle for a batch.

    >>> images, labels = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 8, 8), torch.tensor([0, 1])
    >>> cutmix = CutMix(2)
    >>> params = cutmix.draw(2, torch.Generator().manual_seed(0))
    >>> torch.allclose(cutmix.apply(images, params).mean((1, 2, 3)), cutmix.targets(labels, images, params)[:, 1])
    True
    """

    def __init__(self, num_classes: int, *, alpha: float = 1.0) -> None:
        _check_alpha(alpha)
        self.num_classes, self.alpha = num_classes, alpha

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """The share, and the centre in [0, 1) of height and width."""
        share = dirichlet(self.alpha, num_images, 2, generator)[:, 0]
        return share, torch.rand(num_images, 2, generator=generator, dtype=torch.float64)

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Paste a rectangle of the image before into each image."""
        pasted = inside(*_rectangle(images, params), images)
        return (images * (1 - pasted)).add_(images.roll(1, 0) * pasted)

    def targets(self, labels: Tensor, images: Tensor, params: Params) -> Tensor:
        """(B, num_classes) shares of the classes, those of the pixels."""
        first, end = _rectangle(images, params)
        height, width = images.shape[-2:]
        pasted = (end - first).prod(dim=1) / (height * width)
        return mixed_labels(labels, self.num_classes, sent_as(1 - pasted, images, torch.float32))


def _check_alpha(alpha: float) -> None:
    if alpha <= 0:
        raise ValueError(f"got alpha={alpha}; give a number over 0")


def _rectangle(images: Tensor, params: Params) -> tuple[Tensor, Tensor]:
    share, centres = params
    sides = torch.tensor(images.shape[-2:])
    centre = (centres * sides).floor()
    half = (0.5 * (1 - share).sqrt()[:, None] * sides).floor()
    return (centre - half).clamp(min=0), (centre + half).minimum(sides)


def mixed_labels(labels: Tensor, num_classes: int, share: Tensor) -> Tensor:
    """Labels, weighing `share`, and those of the image before, as (B, num_classes) shares of the classes."""
    shares = one_hot(labels, num_classes).to(share) if labels.ndim == 1 else labels
    return shares * share[:, None] + shares.roll(1, 0) * (1 - share[:, None])


def dirichlet(alpha: float, num_rows: int, width: int, generator: torch.Generator) -> Tensor:
    """Rows of (num_rows, width) shares that sum to one, float64, all concentrations `alpha` > 0; two are a Beta."""
    concentration = torch.full((num_rows, width), alpha, dtype=torch.float64)
    # torch.distributions knows no generators.
    return torch._sample_dirichlet(concentration, generator)
