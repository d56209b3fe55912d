"""From a checked study file to objects: the only place where settings meet classes."""

from dabo_ray.assembly.augmentation import RANDOM
from dabo_ray.assembly.data import make_study_pools
from dabo_ray.assembly.files import check_files
from dabo_ray.assembly.training import make_training

__all__ = ["RANDOM", "check_files", "make_study_pools", "make_training"]
