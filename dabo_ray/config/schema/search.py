"""Sections search, final and budget: settings to try, when to give one up, costs, the final comparison."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dabo_ray.config.schema.section import Count, Positive, Section
from dabo_ray.config.schema.space import Space, Value

Measure = Literal[
    "select_accuracy",
    "select_balanced_accuracy",
    "select_macro_f1",
    "select_mean_iou",
    "select_mean_dice",
    "gpu_hours",
    "seconds",
    "peak_memory_mib",
]


SELECT = "select_"
"""With what the names of scores on the select images begin."""


class PrunerConfig(Section):
    """Ends search trials that fall behind; baselines and finals always run to their end.

    With `search.repeats`, settings compete on their first seed, the same for all; those that reach its last epoch are
    then trained whole on every other seed, unless `wilcoxon` finds that not worth it.
    """

    name: Literal["none", "median", "asha", "hyperband", "wilcoxon"] = "none"
    """`asha`: asynchronous successive halving; `hyperband`: several of them, from bolder to more patient; `median`:
    worse than the median of its peers at the same epoch; `wilcoxon`: no more seeds for a setting that is worse than the
    best one on those it had."""

    min_epochs: Count = 5
    """No trial is ended before this many epochs."""

    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """`asha` and `hyperband` keep one of this many at each rung."""

    p_value: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """`wilcoxon`: how sure the signed-rank test must be."""


class SearchConfig(Section):
    """Which settings of the learned augmentation are tried."""

    trials: Count = 1
    """Settings to try; a grid ends earlier when it has tried all."""

    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    """Seeds on which each setting is judged, by its mean; the same ones for all settings if there are several. One that
    is pruned on its first seed has no others."""

    sampler: Literal["tpe", "gp", "random", "grid"] = "tpe"
    """How the next setting is chosen: `tpe`: tree-structured Parzen estimator over all settings jointly; `gp`: Gaussian
    process; `random`; `grid`: every combination, where ranges of `float` need `steps`."""

    objective: Annotated[dict[Measure, Literal["maximize", "minimize"]], Field(min_length=1)] = {
        "select_accuracy": "maximize"
    }
    """What a setting is judged by. One of the measures is a score on the select images; arms are compared by the same
    score on the test images. `select_balanced_accuracy`: mean of the classes' recalls; `select_macro_f1`: mean of their
    F1 scores. For segmentation `select_mean_iou`, its default, or `select_mean_dice`: over the classes, of the pixels
    of all images. With several measures the best settings are those that no other one beats in all of them; the final
    phase takes the best scored of these."""

    constraints: dict[Measure, float] = {}
    """Measure -> the most that a setting may have; one that has more is not among the best."""

    pruner: PrunerConfig = PrunerConfig()
    """When a setting is given up."""

    space: dict[str, Space] = {}
    """Key path -> `{int: [low, high]}`, `{float: [low, high]}` (either with `log: true`) or `{choice: [...]}`;
    each also with `when: {key: value}`."""

    enqueue: list[dict[str, Value]] = []
    """Settings to try first, each a mapping of keys in `space` to values; what it leaves out is drawn."""


class FinalConfig(Section):
    """The arms that are compared on the test images."""

    top: Annotated[int, Field(ge=0)] = 1
    """Best settings of the search to train again."""

    seeds: Annotated[int, Field(ge=1, le=100)] = 3
    """Fresh seeds for every arm; an interval needs two, a claim five."""

    frozen: bool = True
    """Also score what was learned by itself: a classifier trained from scratch on all labelled images, as baselines
    are, with the learned distribution fixed."""

    equal_cost: list[str] = []
    """Names of baselines, of those compared, to train a second time for as long as the best learned arm takes: with
    as many epochs as the seconds of its search trial buy."""


class BudgetConfig(Section):
    """Limits of the whole study. The search ends when the rest is needed for the final phase; null: no limit."""

    trials: Count | None = None
    """Trials of all phases."""

    wall_hours: Positive | None = None
    """Hours of all starts of the study."""

    gpu_hours: Positive | None = None
    """Hours of training times GPUs; in a study without GPUs, times workers."""

    money: Positive | None = None
    """What those hours may cost at `price_per_gpu_hour`, in its currency."""

    price_per_gpu_hour: Positive | None = None
    """Price of an hour of one GPU, or of one worker in a study without GPUs."""
