"""Views of a study, as the MLflow UI saves them itself; what it makes of them is seen in tests/test_quickstart.py."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import mlflow
import pytest

from dabo_ray.tracking.mlflow_views import View, arms_view, judged_by, search_view, searched

UI = Path(mlflow.__file__).parent / "server/js/build/static/js"


def state_of(view: View) -> dict[str, Any]:
    name, value = view.tag("a-key", 1_764_000_000_000)
    assert name == "mlflow.sharedViewState.a-key"
    saved = json.loads(value)
    assert (saved["name"], saved["createdAt"], saved["updatedAt"]) == (view.name, 1_764_000_000_000, 1_764_000_000_000)
    assert len(value) < 20_000
    state: dict[str, Any] = json.loads(saved["state"])
    return state


def test_the_arms_are_groups_of_the_final_phase() -> None:
    state = state_of(arms_view("Arms", "0abc", ["learned-1", "none"], "accuracy"))
    assert state["searchFilter"] == "tags.`mlflow.parentRunId` = '0abc' and tags.`dabo_ray.phase` = 'final'"
    assert state["groupBy"] == {
        "aggregateFunction": "average",
        "groupByKeys": [{"mode": "tag", "groupByData": "dabo_ray.arm"}],
    }
    assert state["groupsExpanded"] == {"tag.dabo_ray.arm.learned-1": False, "tag.dabo_ray.arm.none": False}
    assert [chart["type"] for chart in state["compareRunCharts"]] == ["BAR", "BAR", "SCATTER", "LINE"]
    assert state["compareRunCharts"][0]["dataAccessKey"] == "test_accuracy"


def test_a_study_is_shown_by_what_it_is_judged_by() -> None:
    assert judged_by(["search.objective.gpu_hours", "search.objective.select_macro_f1"]) == "macro_f1"


def test_the_search_is_shown_by_its_settings() -> None:
    params = ["search.space.bilevel.inner_steps.when", "search.space.bilevel.inner_steps.int", "search.trials"]
    settings = searched([*params, "search.space.augmenter.lr.when"])
    assert settings == ["bilevel.inner_steps", "augmenter.lr"]
    state = state_of(search_view("Search", "0abc", settings, "balanced_accuracy"))
    assert state["groupBy"] is None
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`select_balanced_accuracy`", False)
    assert "params.`bilevel.inner_steps`" in state["selectedColumns"]
    parallel, _, *scatters = state["compareRunCharts"]
    assert parallel["selectedParams"] == ["augmenter.lr", "bilevel.inner_steps"]
    assert [chart["xaxis"]["key"] for chart in scatters] == parallel["selectedParams"]


@pytest.mark.parametrize(
    "view", [arms_view("Arms", "0", ["none"], "accuracy"), search_view("Search", "0", ["augmenter.lr"], "accuracy")]
)
def test_the_installed_ui_knows_every_name(view: View) -> None:
    """A name that a newer MLflow gives up would be passed over without a word."""
    state = state_of(view)
    charts, sections = state.pop("compareRunCharts"), state.pop("compareRunSections")
    names = {*state, *(key for part in (*charts, *sections) for key in part), *(chart["type"] for chart in charts)}
    source = "".join(file.read_text(encoding="utf-8") for file in UI.glob("*.js"))
    unknown = [name for name in sorted(names) if not re.search(rf"\b{name}\b", source)]
    assert not unknown
