"""Views of a study that the MLflow UI opens set up: the arms side by side, and the trials of the search.

The UI keeps what its *Save view* button saves in a tag of the experiment, as JSON in JSON, and lists it under *Views*.
Its names are those of MLflow 3.17's `ExperimentPageUIState`; an older UI passes over what it does not know.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dabo_ray.trials import SCORES, Phase

_TAG = "mlflow.sharedViewState."
_ARM, _OUTCOME, _REASON = "tags.`dabo_ray.arm`", "tags.`dabo_ray.outcome`", "tags.`dabo_ray.reason`"
_MAX_CHARTED = 100
"""Runs or groups that a chart shows at most."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What the page of an experiment shows: which runs, in which order, grouped how, with which columns and charts."""

    name: str
    query: str
    order_by: str
    """A column; the greatest value comes first."""

    columns: Sequence[str]
    charts: Sequence[Mapping[str, Any]]
    group_by: str | None = None
    """A tag whose values share a line of the table and a mark in a chart: the mean of their runs."""

    closed_groups: Sequence[str] = ()
    """Values of this tag whose single runs are not listed."""

    def tag(self, key: str, at_ms: int) -> tuple[str, str]:
        """Name and value of the tag that holds this view under a key, as if it was saved at that time."""
        keys = [{"mode": "tag", "groupByData": self.group_by}]
        state = {
            "searchFilter": self.query,
            "orderByKey": self.order_by,
            "orderByAsc": False,
            "selectedColumns": list(self.columns),
            "groupBy": {"aggregateFunction": "average", "groupByKeys": keys} if self.group_by else None,
            "groupsExpanded": {f"tag.{self.group_by}.{value}": False for value in self.closed_groups},
            "runsHiddenMode": "SHOW_ALL",
            "compareRunSections": [
                {"uuid": "ours", "name": self.name, "display": True, "isReordered": False, "columns": 2},
                # Charts that the UI adds for all other metrics; closed, they load nothing.
                {"uuid": "others", "name": "Model metrics", "display": False, "isReordered": False},
            ],
            "compareRunCharts": [
                {"uuid": f"ours-{at}", "metricSectionId": "ours", "runsCountToCompare": _MAX_CHARTED, **chart}
                for at, chart in enumerate(self.charts)
            ],
        }
        saved = {"name": self.name, "createdAt": at_ms, "updatedAt": at_ms, "state": json.dumps(state)}
        return f"{_TAG}{key}", json.dumps(saved)


def arms_view(name: str, parent_id: str, arms: Sequence[str], score: str) -> View:
    """The final phase of the study of a parent run: its arms side by side, each by the mean over its seeds."""
    test = f"test_{score}"
    return View(
        name=name,
        query=_trials(parent_id, Phase.FINAL),
        order_by=f"metrics.`{test}`",
        columns=[_ARM, f"metrics.`{test}`", "metrics.`seconds`", "metrics.`train_loss`", _OUTCOME],
        charts=[
            _bars(test, f"Test {SCORES[score]} (%)"),
            _bars("seconds", "Training time (s)"),
            _scatter(_metric("seconds", "training time (s)"), _metric(test, f"test {SCORES[score]} (%)")),
            _lines("train_loss"),
        ],
        group_by="dabo_ray.arm",
        closed_groups=arms,
    )


def search_view(name: str, parent_id: str, settings: Iterable[str], score: str) -> View:
    """The search of the study of a parent run: its trials, best first, with the settings that were searched."""
    settings = sorted(settings)
    select = f"select_{score}"
    shown = _metric(select, f"select {SCORES[score]} (%)")
    return View(
        name=name,
        query=_trials(parent_id, Phase.SEARCH),
        order_by=f"metrics.`{select}`",
        columns=[f"metrics.`{select}`", *(f"params.`{key}`" for key in settings), _OUTCOME, _REASON],
        charts=[
            {
                "type": "PARALLEL",
                "selectedParams": settings,
                "selectedMetrics": [select],
                "showAllRuns": True,
            },
            _lines(select),
            *(_scatter({"key": key, "type": "PARAM"}, shown) for key in settings),
        ],
    )


def searched(params: Iterable[str]) -> list[str]:
    """The settings that a study searches, by the key paths of the study."""
    start, end = "search.space.", ".when"
    return [key.removeprefix(start).removesuffix(end) for key in params if key.startswith(start) and key.endswith(end)]


def judged_by(params: Iterable[str]) -> str:
    """The score of a study, a key of `SCORES`, by the key paths of the study."""
    start = "search.objective.select_"
    return next((key.removeprefix(start) for key in params if key.startswith(start)), "accuracy")


def _trials(parent_id: str, phase: Phase) -> str:
    return f"tags.`mlflow.parentRunId` = '{parent_id}' and tags.`dabo_ray.phase` = '{phase}'"


def _metric(name: str, title: str) -> dict[str, str]:
    # The UI shows the key, and reads the data by the other one where there is one.
    return {"key": title, "dataAccessKey": name, "type": "METRIC"}


def _bars(metric: str, title: str) -> dict[str, Any]:
    return {"type": "BAR", "metricKey": title, "dataAccessKey": metric}


def _lines(metric: str) -> dict[str, Any]:
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "lineSmoothness": 0,
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "range": {},
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
        "displayPoints": False,
    }


def _scatter(x: Mapping[str, str], y: Mapping[str, str]) -> dict[str, Any]:
    return {"type": "SCATTER", "xaxis": x, "yaxis": y}
