"""The schema of a study file: every key, its meaning, unit, range and default. Reading one is `study_file.py`'s work.

Imports neither torch nor ray, so that a file is checked in a fraction of a second.
"""

from dabo_ray.config.baselines import Baseline
from dabo_ray.config.data import Data, Shift
from dabo_ray.config.search import Budget, Final, Pruner, Search
from dabo_ray.config.section import Section
from dabo_ray.config.space import Choice, FloatRange, IntRange, in_order
from dabo_ray.config.study import Resources, Study, Tracking
from dabo_ray.config.training import Augmenter, Bilevel, Classifier

__all__ = [
    "Augmenter",
    "Baseline",
    "Bilevel",
    "Budget",
    "Choice",
    "Classifier",
    "Data",
    "Final",
    "FloatRange",
    "IntRange",
    "Pruner",
    "Resources",
    "Search",
    "Section",
    "Shift",
    "Study",
    "Tracking",
    "in_order",
]
