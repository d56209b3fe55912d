"""AugMix: an image mixed with itself after several chains of operations."""

from __future__ import annotations

import torch
from torch import Tensor

from dabo_ray.augment import functional as F
from dabo_ray.augment.autoaugment_operations import OPERATIONS, Space, apply_each, as_levels, look_up
from dabo_ray.augment.fixed import Params, Uint8Augmentation
from dabo_ray.augment.mixing import dirichlet
from dabo_ray.transfer import sent_as

LEVELS = 10
MAX_DEPTH = 3
"""Operations of a chain at most, unless `chain_depth` says otherwise."""

TONES = ("Brightness", "Color", "Contrast", "Sharpness")
"""What `all_ops` adds; they overlap with the corruptions that AugMix is judged by."""


def augmix_space(height: int, width: int) -> Space:
    """All operations with their ten magnitudes, those of torchvision's `AugMix`, in its order."""
    factors, none = torch.linspace(0.0, 0.9, LEVELS), torch.zeros(LEVELS)
    return {
        "ShearX": (torch.linspace(0.0, 0.3, LEVELS), True),
        "ShearY": (torch.linspace(0.0, 0.3, LEVELS), True),
        "TranslateX": (torch.linspace(0.0, width / 3.0, LEVELS), True),
        "TranslateY": (torch.linspace(0.0, height / 3.0, LEVELS), True),
        "Rotate": (torch.linspace(0.0, 30.0, LEVELS), True),
        "Posterize": ((4 - torch.arange(LEVELS) / ((LEVELS - 1) / 4)).round(), False),
        "Solarize": (torch.linspace(1.0, 0.0, LEVELS), False),
        "AutoContrast": (none, False),
        "Equalize": (none, False),
        **dict.fromkeys(TONES, (factors, True)),
    }


class AugMix(Uint8Augmentation):
    """Convex combination of an image and several chains of operations on it; equals torchvision's transform.

    The weights of the chains are Dirichlet(alpha), that of the image itself against them Beta(alpha, alpha). Only the
    images are mixed: the consistency loss of the paper is not part of it.

    Args:
        severity: the strongest level that is drawn, 1 to 10.
        mixture_width: chains, at least 1.
        chain_depth: operations of a chain, at least 1; None: one to three, drawn for each chain.
        alpha: > 0.
        all_ops: with brightness, saturation, contrast and sharpness.

    Raises:
        ValueError: a number is out of its range.

    Reference: Hendrycks et al. 2020.

    >>> images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> AugMix(severity=1)(images, torch.Generator().manual_seed(1)).shape
    torch.Size([4, 3, 32, 32])
    """

    def __init__(
        self,
        *,
        severity: int = 3,
        mixture_width: int = 3,
        chain_depth: int | None = None,
        alpha: float = 1.0,
        all_ops: bool = True,
    ) -> None:
        fewest = min(mixture_width, MAX_DEPTH if chain_depth is None else chain_depth)
        if not 1 <= severity <= LEVELS or fewest < 1 or alpha <= 0:
            raise ValueError(
                f"got severity={severity}, mixture_width={mixture_width}, chain_depth={chain_depth}, alpha={alpha}; "
                f"give a severity of 1 to {LEVELS}, 1 or more chains and operations, and an alpha over 0"
            )
        self.severity, self.width, self.alpha = severity, mixture_width, alpha
        self.chain_depth = chain_depth
        self.num_ops = len(augmix_space(1, 1)) - (0 if all_ops else len(TONES))

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Weight of the image, weights of the chains; depths; operations as places in the space, levels, signs."""
        shares = dirichlet(self.alpha, num_images, 2, generator)
        weights = dirichlet(self.alpha, num_images, self.width, generator) * shares[:, 1:]
        depth = self.chain_depth or MAX_DEPTH
        depths = torch.full((num_images, self.width), depth)
        if self.chain_depth is None:
            depths = torch.randint(1, MAX_DEPTH + 1, (num_images, self.width), generator=generator)
        shape = (num_images, self.width, depth)
        entries = torch.randint(self.num_ops, shape, generator=generator)
        levels = torch.randint(self.severity, shape, generator=generator)
        return shares[:, 0], weights, depths, entries, levels, torch.rand(shape, generator=generator) <= 0.5

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Run each image's chains and mix them."""
        share, weights, depths, entries, bins, negative = params
        operations, magnitudes = look_up(augmix_space(*images.shape[-2:]), entries, bins, negative)
        unused = torch.arange(entries.shape[2]) >= depths[:, :, None]
        operations = operations.masked_fill(unused, OPERATIONS.index("Identity"))
        levels = as_levels(images)
        # The chains of all images are one batch, chain by chain.
        changed = levels.repeat(self.width, 1, 1, 1)
        for step in range(entries.shape[2]):
            numbers, strengths = (values[:, :, step].T.flatten() for values in (operations, magnitudes))
            changed = apply_each(changed, numbers, strengths, bilinear=True)
        mixed = levels.float().mul_(F.per_image(sent_as(share, levels, torch.float32)))
        for chain, weight in zip(changed.chunk(self.width), weights.unbind(1), strict=True):
            mixed.addcmul_(chain.float(), F.per_image(sent_as(weight, mixed)))
        # Shares sum to one only up to rounding, and torchvision cuts what it mixes to 8 bits.
        mixed.floor_().clamp_(0, 255).div_(255)
        return mixed.to(images.dtype) if images.is_floating_point() else mixed
