"""Augmenters by the names that study files and saved augmenters use."""

from __future__ import annotations

from dabo_ray.augment.affine import AffineAugmenter, AffineMatrixAugmenter
from dabo_ray.augment.affine_color import AffineColorAugmenter, AffineColorMatrixAugmenter
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.policy import PolicyAugmenter

AUGMENTERS: dict[str, type[Augmenter]] = {
    "affine": AffineAugmenter,
    "affine_matrix": AffineMatrixAugmenter,
    "affine_color": AffineColorAugmenter,
    "affine_color_matrix": AffineColorMatrixAugmenter,
    "policy": PolicyAugmenter,
}
"""Name -> class. All of them take the arguments of `Augmenter`."""


def name_of(augmenter: Augmenter) -> str:
    """The name under which an augmenter is known."""
    return next(name for name, known in AUGMENTERS.items() if type(augmenter) is known)
