"""The augmenters by the names that study files and saved augmenters use."""

from __future__ import annotations

from dabo_ray.augment.affine import AffineAugmenter, MatrixAugmenter
from dabo_ray.augment.color import AffineColorAugmenter, ColorMatrixAugmenter
from dabo_ray.augment.learned import Augmenter
from dabo_ray.augment.policy import PolicyAugmenter

AUGMENTERS: dict[str, type[Augmenter]] = {
    "affine": AffineAugmenter,
    "affine_matrix": MatrixAugmenter,
    "affine_color": AffineColorAugmenter,
    "affine_color_matrix": ColorMatrixAugmenter,
    "policy": PolicyAugmenter,
}
"""Name -> class. All of them are made with the same arguments, see `Options`."""


def name_of(augmenter: Augmenter) -> str:
    """The name under which an augmenter is known."""
    return next(name for name, known in AUGMENTERS.items() if type(augmenter) is known)
