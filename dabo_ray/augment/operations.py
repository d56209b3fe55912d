"""The operations of AutoAugment and its successors, each image with its own operation and magnitude, batched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from dabo_ray.augment import eight_bit, ops

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
    "Equalize": lambda levels, _: ops.equalized_levels(levels),
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
    levels = images if images.dtype == torch.uint8 else to_bytes(ops.to_levels(images.float()))
    for numbers, strengths in zip(operations.unbind(1), magnitudes.unbind(1), strict=True):
        levels = apply_each(levels, numbers, strengths, bilinear=bilinear)
    output = torch.empty_like(levels, dtype=torch.float32)
    piece = _piece(levels)
    for part, part_levels in zip(torch.split(output, piece), torch.split(levels, piece), strict=True):
        part.copy_(part_levels).div_(255)
    return output.to(images.dtype) if images.is_floating_point() else output


def apply_each(levels: Tensor, operations: Tensor, magnitudes: Tensor, *, bilinear: bool) -> Tensor:
    """One operation on each image: the images are sorted by operation, and those of one are computed together.

    Args:
        levels: (B, C, H, W), uint8.
        operations: (B,) numbers of operations, on the CPU.
        magnitudes: (B,), on the CPU.
        bilinear: see `apply_chain`.

    Returns:
        uint8 as well: a quarter of the memory to move.
    """
    order = operations.argsort(stable=True)
    # The sizes of the groups are known on the CPU, so an accelerator is never waited for.
    counts = operations.bincount(minlength=len(OPERATIONS)).tolist()
    _, *drawn = torch.split(magnitudes[order], counts)
    tones = zip(_TONES.values(), drawn[len(_WARPS) :], strict=True)
    matrices = _warp_matrices(drawn[: len(_WARPS)], *levels.shape[-2:])
    warp = eight_bit.bilinear_warp if bilinear else eight_bit.nearest_warp

    ordered = levels.index_select(0, order.to(levels.device))
    changed = [ordered[: counts[0]]]
    start = counts[0]
    # All warps are one, with matrices; they come first in the order.
    for operation, strengths in ((warp, matrices), *tones):
        strengths = strengths.to(levels.device, torch.float32)
        for part in torch.split(strengths, _piece(levels)) if len(strengths) else ():
            changed.append(to_bytes(operation(ordered[start : start + len(part)].float(), part)))
            start += len(part)
    return torch.cat(changed).index_select(0, order.argsort().to(levels.device))


def to_bytes(levels: Tensor) -> Tensor:
    """Whole numbers in 0..255 as uint8."""
    # By way of int32 a CPU is twice as fast.
    return levels.int().byte()


def _piece(images: Tensor) -> int:
    """How many images are computed together."""
    return max(1, CACHED // images.shape[1:].numel() if images.device.type == "cpu" else len(images))


def _warp_matrices(magnitudes: Sequence[Tensor], height: int, width: int) -> Tensor:
    """Pixel matrices of the images that drew ShearX, ShearY, TranslateX, TranslateY, Rotate, in this order."""
    shear_x, shear_y, shift_x, shift_y, angles = (part.double() for part in magnitudes)
    return torch.cat(
        (
            ops.shear_matrix(shear_x, torch.zeros_like(shear_x), height, width),
            ops.shear_matrix(torch.zeros_like(shear_y), shear_y, height, width),
            ops.translation_matrix(shift_x.trunc(), torch.zeros_like(shift_x)),
            ops.translation_matrix(torch.zeros_like(shift_y), shift_y.trunc()),
            ops.rotation_matrix(angles),
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
