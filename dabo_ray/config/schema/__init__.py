"""The schema of a study file: every key, its meaning, unit, range and default. `config.file` reads one.

Imports neither torch nor ray, so that a file is checked in a fraction of a second.
"""

from dabo_ray.config.schema.baselines import Baseline
from dabo_ray.config.schema.data import DataConfig, ShiftConfig
from dabo_ray.config.schema.search import BudgetConfig, FinalConfig, PrunerConfig, SearchConfig
from dabo_ray.config.schema.section import Section
from dabo_ray.config.schema.space import Choice, FloatRange, IntRange, in_order
from dabo_ray.config.schema.study import ResourcesConfig, StudyConfig, TrackingConfig
from dabo_ray.config.schema.training import AugmenterConfig, BilevelConfig, ClassifierConfig

__all__ = [
    "AugmenterConfig",
    "Baseline",
    "BilevelConfig",
    "BudgetConfig",
    "Choice",
    "ClassifierConfig",
    "DataConfig",
    "FinalConfig",
    "FloatRange",
    "IntRange",
    "PrunerConfig",
    "ResourcesConfig",
    "SearchConfig",
    "Section",
    "ShiftConfig",
    "StudyConfig",
    "TrackingConfig",
    "in_order",
]
