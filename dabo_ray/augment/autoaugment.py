"""AutoAugment: the three policies that were published, batched."""

from __future__ import annotations

import torch
from torch import Tensor

from dabo_ray.augment.autoaugment_operations import OPERATIONS, apply_chain, look_up, warped_masks
from dabo_ray.augment.fixed import Params, Uint8Augmentation
from dabo_ray.augment.masks import are_masks
from dabo_ray.augment.randaugment import autoaugment_space

LEVELS = 10
"""Magnitudes of the published policies, from 0 to 9."""

POLICIES = {
    "cifar10": """
        Invert 0.1 -, Contrast 0.2 6
        Rotate 0.7 2, TranslateX 0.3 9
        Sharpness 0.8 1, Sharpness 0.9 3
        ShearY 0.5 8, TranslateY 0.7 9
        AutoContrast 0.5 -, Equalize 0.9 -
        ShearY 0.2 7, Posterize 0.3 7
        Color 0.4 3, Brightness 0.6 7
        Sharpness 0.3 9, Brightness 0.7 9
        Equalize 0.6 -, Equalize 0.5 -
        Contrast 0.6 7, Sharpness 0.6 5
        Color 0.7 7, TranslateX 0.5 8
        Equalize 0.3 -, AutoContrast 0.4 -
        TranslateY 0.4 3, Sharpness 0.2 6
        Brightness 0.9 6, Color 0.2 8
        Solarize 0.5 2, Invert 0.0 -
        Equalize 0.2 -, AutoContrast 0.6 -
        Equalize 0.2 -, Equalize 0.6 -
        Color 0.9 9, Equalize 0.6 -
        AutoContrast 0.8 -, Solarize 0.2 8
        Brightness 0.1 3, Color 0.7 0
        Solarize 0.4 5, AutoContrast 0.9 -
        TranslateY 0.9 9, TranslateY 0.7 9
        AutoContrast 0.9 -, Solarize 0.8 3
        Equalize 0.8 -, Invert 0.1 -
        TranslateY 0.7 9, AutoContrast 0.9 -
    """,
    "imagenet": """
        Posterize 0.4 8, Rotate 0.6 9
        Solarize 0.6 5, AutoContrast 0.6 -
        Equalize 0.8 -, Equalize 0.6 -
        Posterize 0.6 7, Posterize 0.6 6
        Equalize 0.4 -, Solarize 0.2 4
        Equalize 0.4 -, Rotate 0.8 8
        Solarize 0.6 3, Equalize 0.6 -
        Posterize 0.8 5, Equalize 1.0 -
        Rotate 0.2 3, Solarize 0.6 8
        Equalize 0.6 -, Posterize 0.4 6
        Rotate 0.8 8, Color 0.4 0
        Rotate 0.4 9, Equalize 0.6 -
        Equalize 0.0 -, Equalize 0.8 -
        Invert 0.6 -, Equalize 1.0 -
        Color 0.6 4, Contrast 1.0 8
        Rotate 0.8 8, Color 1.0 2
        Color 0.8 8, Solarize 0.8 7
        Sharpness 0.4 7, Invert 0.6 -
        ShearX 0.6 5, Equalize 1.0 -
        Color 0.4 0, Equalize 0.6 -
        Equalize 0.4 -, Solarize 0.2 4
        Solarize 0.6 5, AutoContrast 0.6 -
        Invert 0.6 -, Equalize 1.0 -
        Color 0.6 4, Contrast 1.0 8
        Equalize 0.8 -, Equalize 0.6 -
    """,
    "svhn": """
        ShearX 0.9 4, Invert 0.2 -
        ShearY 0.9 8, Invert 0.7 -
        Equalize 0.6 -, Solarize 0.6 6
        Invert 0.9 -, Equalize 0.6 -
        Equalize 0.6 -, Rotate 0.9 3
        ShearX 0.9 4, AutoContrast 0.8 -
        ShearY 0.9 8, Invert 0.4 -
        ShearY 0.9 5, Solarize 0.2 6
        Invert 0.9 -, AutoContrast 0.8 -
        Equalize 0.6 -, Rotate 0.9 3
        ShearX 0.9 4, Solarize 0.3 3
        ShearY 0.8 8, Invert 0.7 -
        Equalize 0.9 -, TranslateY 0.6 6
        Invert 0.9 -, Equalize 0.6 -
        Contrast 0.3 3, Rotate 0.8 4
        Invert 0.8 -, TranslateY 0.0 2
        ShearY 0.7 6, Solarize 0.4 8
        Invert 0.6 -, Rotate 0.8 4
        ShearY 0.3 7, TranslateX 0.9 3
        ShearX 0.1 6, Invert 0.6 -
        Solarize 0.7 2, TranslateY 0.6 7
        ShearY 0.8 4, Invert 0.8 -
        ShearX 0.7 9, TranslateY 0.8 3
        ShearY 0.8 5, AutoContrast 0.7 -
        ShearX 0.7 2, Invert 0.1 -
    """,
}
"""Data set -> sub-policies, one a line: two operations, each with its probability and level (`-`: it has none)."""


class AutoAugment(Uint8Augmentation):
    """One sub-policy of two operations for each image, drawn uniformly; equals torchvision's transform.

    Floating point images are taken as multiples of 1/255.

    Args:
        policy: a key of `POLICIES`.

    Raises:
        ValueError: there is no such policy.

    Reference: Cubuk et al. 2019, appendix A.

    >>> images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> AutoAugment("svhn")(images, torch.Generator().manual_seed(1)).shape
    torch.Size([8, 3, 32, 32])
    """

    def __init__(self, policy: str = "cifar10") -> None:
        if policy not in POLICIES:
            raise ValueError(f"got policy={policy!r}; give one of {', '.join(POLICIES)}")
        steps = [step.split() for line in POLICIES[policy].strip().splitlines() for step in line.split(",")]
        names, probabilities, levels = zip(*steps, strict=True)
        # Places in `OPERATIONS` are places in the space.
        self.operations = torch.tensor([OPERATIONS.index(name) for name in names]).view(-1, 2)
        self.probabilities = torch.tensor([float(text) for text in probabilities]).view(-1, 2)
        self.levels = torch.tensor([0 if text == "-" else int(text) for text in levels]).view(-1, 2)

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """The sub-policy, which of its operations are used, and whether the sign of their magnitudes is turned."""
        chosen = torch.randint(len(self.operations), (num_images,), generator=generator)
        used = torch.rand(num_images, 2, generator=generator) <= self.probabilities[chosen]
        return chosen, used, torch.rand(num_images, 2, generator=generator) <= 0.5

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Run each image's sub-policy."""
        return apply_chain(images, *self._chain(images, params))

    def targets(self, labels: Tensor, images: Tensor, params: Params) -> Tensor:
        """Labels as they are, masks moved."""
        return warped_masks(labels, *self._chain(images, params)) if are_masks(labels) else labels

    def _chain(self, images: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """Operations and magnitudes, see `apply_chain`."""
        chosen, used, negative = params
        operations = torch.where(used, self.operations[chosen], OPERATIONS.index("Identity"))
        space = autoaugment_space(LEVELS, *images.shape[-2:])
        return look_up(space, operations, self.levels[chosen], negative)
