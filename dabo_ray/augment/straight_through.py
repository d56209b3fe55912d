"""Operations and decisions that have no useful derivative, each with a stand-in for it.

The values are exact; only the derivatives are replaced. What replaces them, and where it is biased, stands with each.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dabo_ray.augment import functional as F

MAX_REMOVED_BITS = 6
"""Most bits that `posterize` removes of the 8."""

SOLARIZE_WIDTH = 0.05
"""Width of the sigmoid whose slope stands in for that of the threshold's step."""


def gate(logits: Tensor, chances: Tensor) -> Tensor:
    """Draws 0 or 1, 1 with probability p = sigmoid(logits).

    A gate b is 1 where the chance is over 1 - p. Its derivative with respect to the logit is taken to be |b - p| / 2.
    For a loss f(b), with b as likely as it is, that gives on average

        p (1 - p) (f'(0) + f'(1)) / 2      for the true      p (1 - p) (f(1) - f(0)),

    the trapezoid rule: no bias for losses that are linear or quadratic in the gate, the right sign for monotone ones,
    and an error of p (1 - p) f''' / 12 at most, for some value of f''' in between, otherwise.

    Args:
        logits: of the probabilities.
        chances: uniform in [0, 1), of the same shape. A chance of 0 always gives 0.

    Reference: Liu et al. 2023 (ReinMax), which takes Heun's rule for the same end.
    """
    probabilities = torch.sigmoid(logits.detach())
    opened = (chances > 1 - probabilities).to(logits.dtype)
    return opened + (logits - logits.detach()) * ((opened - probabilities).abs() / 2)


def choose(gates: Tensor, changed: Tensor, images: Tensor) -> Tensor:
    """`changed` where the gate, (B,), is 1, `images` where it is 0; linear in between for the derivative."""
    gates = F.per_image(gates)
    chosen = torch.where(gates.detach() > 0.5, changed, images)
    return chosen + (gates - gates.detach()) * (changed - images).detach()


def equalize(images: Tensor) -> Tensor:
    """`functional.equalize`; the images' derivative passes as if nothing were done."""
    return images + (F.equalize(images) - images).detach()


def posterize(images: Tensor, strengths: Tensor) -> Tensor:
    """Remove the lowest `strengths` times 6 bits of each level, rounded to whole bits.

    The images' derivative passes as if nothing were done. The strength's is that of the straight line between the two
    nearest numbers of bits: the mean slope of what is done, so without bias where the strength is spread over a bit.

    Args:
        images: (B, C, H, W) in [0, 1].
        strengths: (B,), in [0, 1].
    """
    removed = strengths * MAX_REMOVED_BITS
    whole = removed.detach().floor()
    with torch.no_grad():
        fewer, more = (F.posterize(images, 8 - (whole + extra).long()) for extra in (0, 1))
        # 8 bits kept are all that an 8-bit image has; others are not to be rounded.
        fewer = torch.where(F.per_image(whole) == 0, images, fewer)
        rounded = torch.where(F.per_image(removed - whole) >= 0.5, more, fewer)
    slope = more - fewer
    return images + (rounded - images).detach() + slope * F.per_image(removed - removed.detach())


def solarize(images: Tensor, strengths: Tensor) -> Tensor:
    """Invert the values at or over the threshold 1 - `strengths`.

    The derivative with respect to the strength is that of a sigmoid in place of the step, which spreads what happens
    at the threshold over the levels near it: right on average for images with as many pixels at each level near it.

    Args:
        images: (B, C, H, W) in [0, 1].
        strengths: (B,), in [0, 1]; at 0 not even white is inverted.
    """
    thresholds = F.per_image(1 - strengths) * (256 / 255)
    above = (images - thresholds).detach()
    soft = torch.sigmoid((images.detach() - thresholds) / SOLARIZE_WIDTH)
    inverted = (above >= 0).to(images.dtype) + (soft - soft.detach())
    return images + inverted * (1 - 2 * images)


def erase(images: Tensor, strengths: Tensor, centres: Tensor, gates: Tensor) -> Tensor:
    """Black out a rectangle; pixels that it covers in part are darkened by that part, so sizes have a true derivative.

    Args:
        images: (B, C, H, W).
        strengths: (B,), side of the rectangle over that of the image, in [0, 1].
        centres: (B, 2), x and y of its centre over the sides, in [0, 1]; what lies outside the image is cut off.
        gates: (B,), whether it is done, 0 or 1.
    """
    covered = [
        _covered(size, strengths * size, centres[:, axis] * size)
        for axis, size in enumerate((images.shape[3], images.shape[2]))
    ]
    mask = covered[1][:, None, :, None] * covered[0][:, None, None, :]
    return images * (1 - F.per_image(gates) * mask)


def _covered(size: int, lengths: Tensor, centres: Tensor) -> Tensor:
    """How much of each of `size` pixels in a row an interval covers, (B, size)."""
    left = torch.arange(size, dtype=lengths.dtype, device=lengths.device)
    start, end = (centres + sign * lengths / 2 for sign in (-1, 1))
    return (torch.minimum(left + 1, end[:, None]) - torch.maximum(left, start[:, None])).clamp(0, 1)
