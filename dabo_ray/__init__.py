"""Learned data augmentation (DABO): a library for training loops, and studies on Ray, Optuna and MLflow.

The library needs torch, torchvision, numpy, safetensors and filelock; studies need the extra `study`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dabo_ray.augment.affine import AffineAugmenter
    from dabo_ray.augment.affine_color import AffineColorAugmenter
    from dabo_ray.augment.augmenter import Augmenter
    from dabo_ray.augment.export import load_augmenter, save
    from dabo_ray.augment.policy import PolicyAugmenter
    from dabo_ray.augment.transform import LearnedTransform
    from dabo_ray.bilevel.bilevel_step import BilevelStep
    from dabo_ray.bilevel.finite import Diverged
    from dabo_ray.bilevel.shrunk_adam import ShrunkAdam
    from dabo_ray.results import StudyResults, load

__version__ = "0.1.0"

__all__ = [
    "AffineAugmenter",
    "AffineColorAugmenter",
    "Augmenter",
    "BilevelStep",
    "Diverged",
    "LearnedTransform",
    "PolicyAugmenter",
    "ShrunkAdam",
    "StudyResults",
    "__version__",
    "load",
    "load_augmenter",
    "save",
]

_MODULES = {
    "AffineAugmenter": "augment.affine",
    "AffineColorAugmenter": "augment.affine_color",
    "Augmenter": "augment.augmenter",
    "BilevelStep": "bilevel.bilevel_step",
    "Diverged": "bilevel.finite",
    "LearnedTransform": "augment.transform",
    "PolicyAugmenter": "augment.policy",
    "ShrunkAdam": "bilevel.shrunk_adam",
    "StudyResults": "results",
    "load": "results",
    "load_augmenter": "augment.export",
    "save": "augment.export",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is asked for: a study file is checked without the seconds that torch takes."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
