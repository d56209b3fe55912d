"""Which settings are tried, when one is given up, and what is compared in the end."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dabo_ray.config.section import Count, Section
from dabo_ray.config.space import Space


class Pruner(Section):
    """Ends search trials that fall behind; baselines and finals always run to their end."""

    name: Literal["none", "median", "asha"] = "none"
    """`asha`: asynchronous successive halving; `median`: worse than the median of its peers at the same epoch."""

    min_epochs: Count = 5
    """No trial is ended before this many epochs."""

    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """`asha` keeps one of this many at each rung."""


class Search(Section):
    """Which settings of the learned augmentation are tried."""

    trials: Count = 1
    """Settings to try."""

    sampler: Literal["tpe", "random"] = "tpe"
    """How the next setting is chosen."""

    pruner: Pruner = Pruner()
    """When a setting is given up."""

    space: dict[str, Space] = {}
    """Key path -> `{int: [low, high]}`, `{float: [low, high]}` (either with `log: true`) or `{choice: [...]}`."""


class Final(Section):
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
