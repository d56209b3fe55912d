"""Operations of AutoAugment and its successors by name, each image with its own operation and magnitude, batched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from dabo_ray.augment import eight_bit
from dabo_ray.augment import functional as F
from dabo_ray.augment.masks import moved_masks
from dabo_ray.transfer import sent_as

Space = Mapping[str, tuple[Tensor, bool]]
"""Operation -> its magnitudes, and whether their sign is random."""

_WARPS = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")

_TONES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Brightness": eight_bit.brightness,
    "Color": eight_bit.saturation,
    "Contrast": eight_bit.contrast,
    "Sharpness": eight_bit.sharpness,
    "Posterize": eight_bit.posterize,
    "Solarize": eight_bit.solarize,
    "AutoContrast": lambda levels, _: eight_bit.autocontrast(levels),
    "Equalize": lambda levels, _: F.equalized_levels(levels),
    "Invert": lambda levels, _: eight_bit.invert(levels),
}

CACHED = 2**17
"""Numbers of the images that are computed together on a CPU: they fit into its cache, where passes are nearly free."""

OPERATIONS = ("Identity", *_WARPS, *_TONES)
"""Every operation; its place here is its number.

Magnitudes are those of torchvision: a slope for shears, pixels to the right or down for translations, degrees
counter-clockwise for the rotation, the blending factor less one for brightness to sharpness, bits for posterize, the
threshold in [0, 1] for solarize; the others have none.
"""


def apply_chain(images: Tensor, operations: Tensor, magnitudes: Tensor, *, bilinear: bool = False) -> Tensor:
    """Images after a chain of operations; equals torchvision on uint8 images one by one.

    Args:
        images: (B, C, H, W), uint8, or floating point in [0, 1] that is taken as multiples of 1/255.
        operations: (B, N) numbers of operations, on the CPU, applied from the first to the last.
        magnitudes: (B, N), on the CPU.
        bilinear: how warps resample; otherwise by the nearest pixel. Zero outside the image.

    Returns:
        In [0, 1], of the images' type; float32 for uint8.
    """
    levels = as_levels(images)
    *earlier, (numbers, strengths) = zip(operations.unbind(1), magnitudes.unbind(1), strict=True)
    for step in earlier:
        levels = apply_each(levels, *step, bilinear=bilinear)
    output = torch.empty(levels.shape, device=levels.device)
    for rows, changed in _changed(levels, numbers, strengths, bilinear=bilinear):
        F.put(output, rows, changed.div_(255))
    return output.to(images.dtype) if images.is_floating_point() else output


def apply_each(levels: Tensor, operations: Tensor, magnitudes: Tensor, *, bilinear: bool) -> Tensor:
    """One operation on each image.

    Args:
        levels: (B, C, H, W), uint8, contiguous.
        operations: (B,) numbers of operations, on the CPU.
        magnitudes: (B,), on the CPU.
        bilinear: see `apply_chain`.

    Returns:
        uint8 as well: a quarter of the memory to move.
    """
    output = levels.clone()
    for rows, changed in _changed(levels, operations, magnitudes, bilinear=bilinear, kept=False):
        F.put(output, rows, to_bytes(changed))
    return output


def warped_masks(masks: Tensor, operations: Tensor, magnitudes: Tensor) -> Tensor:
    """(B, H, W) masks after those operations of a chain that move pixels; arguments as of `apply_chain`."""
    is_warp = torch.isin(operations, torch.tensor([OPERATIONS.index(name) for name in _WARPS]))
    operations = operations.where(is_warp, OPERATIONS.index("Identity"))

    def move(levels: Tensor) -> Tensor:
        for step in zip(operations.unbind(1), magnitudes.unbind(1), strict=True):
            levels = apply_each(levels, *step, bilinear=False)
        return levels

    return moved_masks(masks, move)


def as_levels(images: Tensor) -> Tensor:
    """The uint8 levels of images that are uint8, or floating point in [0, 1]; contiguous."""
    levels = images if images.dtype == torch.uint8 else to_bytes(F.to_levels(images.float()))
    return levels.contiguous()


def to_bytes(levels: Tensor) -> Tensor:
    """Whole numbers in 0..255 as uint8."""
    # By way of int16 a CPU is twice as fast.
    return levels.short().byte()


def _changed(
    levels: Tensor, operations: Tensor, magnitudes: Tensor, *, bilinear: bool, kept: bool = True
) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of images that have the same operation, and what it makes of them, float32.

    Without `kept` those that have Identity are left out.
    """
    order = operations.argsort(stable=True)
    # The sizes of the groups are known on the CPU, so an accelerator is never waited for.
    num_kept, *counts = operations.bincount(minlength=len(OPERATIONS)).tolist()
    num_warps = sum(counts[: len(_WARPS)])
    sorted_magnitudes = magnitudes[order]
    # All warps are one, with matrices; they come after Identity in the order.
    of_warps = torch.split(sorted_magnitudes[num_kept : num_kept + num_warps], counts[: len(_WARPS)])
    height, width = levels.shape[-2:]
    matrices = sent_as(_warp_matrices(of_warps, height, width), levels, torch.float32)
    piece = max(1, CACHED // levels.shape[1:].numel()) if levels.device.type == "cpu" else len(levels)
    parts = zip(*(torch.split(term, piece) for term in F.pixel_terms(matrices, height, width)), strict=True)
    warp = eight_bit.bilinear_warp if bilinear else eight_bit.nearest_warp
    groups = (
        (_keep, num_kept),
        (lambda levels, _: warp(levels, next(parts)), num_warps),
        *zip(_TONES.values(), counts[len(_WARPS) :], strict=True),
    )
    steps = [(operation, min(piece, count - done)) for operation, count in groups for done in range(0, count, piece)]
    sizes = [size for _, size in steps]
    rows = torch.split(sent_as(order, levels, torch.int64), sizes)
    strengths = torch.split(sent_as(sorted_magnitudes, levels, torch.float32), sizes)
    for (operation, _), group, values in zip(steps, rows, strengths, strict=True):
        if kept or operation is not _keep:
            yield group, operation(levels.index_select(0, group).float(), values)


def _keep(levels: Tensor, _: Tensor) -> Tensor:
    return levels


def _warp_matrices(magnitudes: Sequence[Tensor], height: int, width: int) -> Tensor:
    """Pixel matrices of the images that drew ShearX, ShearY, TranslateX, TranslateY, Rotate, in this order."""
    shear_x, shear_y, shift_x, shift_y, angles = (part.double() for part in magnitudes)
    return torch.cat(
        (
            F.shear_matrix(shear_x, torch.zeros_like(shear_x), height, width),
            F.shear_matrix(torch.zeros_like(shear_y), shear_y, height, width),
            F.translation_matrix(shift_x.trunc(), torch.zeros_like(shift_x)),
            F.translation_matrix(torch.zeros_like(shift_y), shift_y.trunc()),
            F.rotation_matrix(angles),
        )
    )


def look_up(space: Space, entries: Tensor, bins: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of operations and their magnitudes.

    Args:
        space: the operations to choose from, all with as many bins.
        entries: any shape, places in the space.
        bins: the same shape, places in the magnitudes.
        negative: the same shape, whether the sign of a signed magnitude is turned.
    """
    magnitudes, signed = zip(*space.values(), strict=True)
    numbers = torch.tensor([OPERATIONS.index(name) for name in space])
    magnitude = torch.stack(magnitudes)[entries, bins]
    return numbers[entries], torch.where(negative & torch.tensor(signed)[entries], -magnitude, magnitude)
