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

OPERATIONS = ("Identity", *_WARPS, *_TONES)
"""Every operation; its place here is its number.

Magnitudes are those of torchvision: a slope for shears, pixels to the right or down for translations, degrees
counter-clockwise for the rotation, the blending factor less one for brightness to sharpness, bits for posterize, the
threshold in [0, 1] for solarize; the others have none.
"""


def apply_chain(images: Tensor, operations: Tensor, magnitudes: Tensor, *, bilinear: bool = False) -> Tensor:
    """Images after a chain of operations; equals torchvision on uint8 images one by one.

    It is computed in float32 on 8-bit levels: the images are taken as multiples of 1/255.

    Args:
        images: (B, C, H, W), floating point in [0, 1].
        operations: (B, N) numbers of operations, on the CPU, applied from the first to the last.
        magnitudes: (B, N), on the CPU.
        bilinear: how warps resample; otherwise by the nearest pixel. Zero outside the image.
    """
    output = images.float()
    for numbers, strengths in zip(operations.unbind(1), magnitudes.unbind(1), strict=True):
        output = apply_each(output, numbers, strengths, bilinear=bilinear)
    return output.to(images.dtype)


def apply_each(images: Tensor, operations: Tensor, magnitudes: Tensor, *, bilinear: bool) -> Tensor:
    """One operation on each image: the images are sorted by operation, and each operation runs once.

    Args:
        images: (B, C, H, W), float32 in [0, 1]; they stay as they are.
        operations: (B,) numbers of operations, on the CPU.
        magnitudes: (B,), on the CPU.
        bilinear: see `apply_chain`.
    """
    order = operations.argsort(stable=True)
    # The sizes of the groups are known on the CPU, so an accelerator is never waited for.
    counts = operations.bincount(minlength=len(OPERATIONS)).tolist()
    by_operation = dict(zip(OPERATIONS, torch.split(magnitudes[order], counts), strict=True))
    matrices = _warp_matrices([by_operation[name] for name in _WARPS], *images.shape[-2:])
    warp = eight_bit.bilinear_warp if bilinear else eight_bit.nearest_warp

    order = order.to(images.device)
    output = torch.empty_like(images)
    start = 0
    # All warps are one, with matrices; they come first in the order.
    for name, count in (("Identity", counts[0]), ("warp", len(matrices)), *zip(_TONES, counts[6:], strict=True)):
        if not count:
            continue
        rows = order[start : start + count]
        start += count
        group = images.index_select(0, rows)
        # A group fits into a CPU's cache, where its conversions are nearly free; the batch does not.
        if name == "warp":
            group = warp(group.mul_(255).round_(), matrices.to(images.device, torch.float32)).div_(255)
        elif name != "Identity":
            group = _TONES[name](group.mul_(255).round_(), by_operation[name].to(images)).div_(255)
        output.index_copy_(0, rows, group)
    return output


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
