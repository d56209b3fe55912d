"""Random brightness, contrast, saturation and hue, in random order."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dabo_ray.augment import functional as F
from dabo_ray.augment.fixed import FixedAugmentation, Params, check_batch
from dabo_ray.transfer import sent_as

_OPERATIONS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (F.brightness, F.contrast, F.saturation, F.hue)


class ColorJitter(FixedAugmentation):
    """Each image with its own factors and its own order; equals torchvision's `ColorJitter` on floating point images.

    Args:
        brightness: the factor is uniform in 1 - brightness (at least 0) to 1 + brightness.
        contrast: the same for the contrast.
        saturation: the same for the saturation.
        hue: the shift is uniform in -hue to hue, in full circles; 0.5 at most.

    Raises:
        ValueError: a width is negative, or the hue's over 0.5.

    >>> images = torch.full((3, 3, 1, 1), 0.5)
    >>> darker = ColorJitter(brightness=0.5, contrast=0, saturation=0)(images, torch.Generator().manual_seed(0))
    >>> bool((darker >= 0.25).all() and (darker <= 0.75).all() and (darker != 0.5).all())
    True
    """

    def __init__(
        self, *, brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.4, hue: float = 0.0
    ) -> None:
        if min(brightness, contrast, saturation, hue) < 0 or hue > 0.5:
            raise ValueError(
                f"got brightness={brightness}, contrast={contrast}, saturation={saturation}, hue={hue}; "
                "give numbers of at least 0, and a hue of at most 0.5"
            )
        factors = [(max(0.0, 1 - width), 1 + width) for width in (brightness, contrast, saturation)]
        self.ranges = torch.tensor([*factors, (-hue, hue)])

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """The factors and the shift, (B, 4), and the order, (B, 4), in which they are applied."""
        low, high = self.ranges.unbind(1)
        values = torch.lerp(low, high, torch.rand(num_images, 4, generator=generator))
        return values, torch.rand(num_images, 4, generator=generator).argsort(dim=1)

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Run the operations on the images that have them in the same order, one order after the other."""
        check_batch(images, params)
        values, orders = params
        used = self.ranges[:, 0] != self.ranges[:, 1]
        if not used.any() or not len(images):
            return images.clone()
        # Operations that do nothing are left out, so that there are fewer orders.
        kinds, kind = torch.unique(orders[used[orders]].view(-1, int(used.sum())), dim=0, return_inverse=True)
        counts = kind.bincount(minlength=len(kinds)).tolist()
        rows = torch.split(sent_as(kind.argsort(stable=True), images, torch.int64), counts)
        output = torch.empty(images.shape, dtype=images.dtype, device=images.device)
        values = sent_as(values, images)
        for numbers, group in zip(kinds.tolist(), rows, strict=True):
            factors = values.index_select(0, group).unbind(1)
            changed = images.index_select(0, group)
            for number in numbers:
                changed = _OPERATIONS[number](changed, factors[number])
            F.put(output, group, changed.contiguous())
        return output
