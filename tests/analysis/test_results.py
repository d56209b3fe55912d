"""The summary and the tables of a study, against hand-made results."""

import csv
import json
import os
from collections import Counter

import numpy as np
import pyarrow.parquet
import pytest

from dabo_ray.analysis.results import summarize, write_results, write_summary
from dabo_ray.storage.atomic import replacing
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult


def result(
    name, phase=Phase.FINAL, arm="none", method=None, outcome=Outcome.COMPLETE, reason="", metrics=None, **trial
):
    trial = {"seed": 0, "epochs": 10, **trial}
    return TrialResult(
        trial=Trial(name=name, phase=phase, arm=arm, method=method or arm, **trial),
        outcome=outcome,
        reason=reason,
        metrics=metrics or {},
    )


def final(arm, seed, test_accuracy, seconds, **rest):
    metrics = {"epoch": 10, "test_accuracy": test_accuracy, "seconds": seconds}
    return result(f"final-{arm}-seed-{seed}", arm=arm, seed=seed, metrics=metrics, **rest)


# Programs read summary.json: a key may be added, and never go or change its name.
KEYS = ["study", "answer", "verdict", "phases", "arms", "best", "use_this", "comparisons"]
KEYS += ["settings", "interplay", "outlying_seeds", "learned_seeds", "training_seconds", "budget", "wall_seconds"]
KEYS += ["provenance"]
COMPARISON_KEYS = ["arm", "against", "reference", "seeds", "difference", "low", "high", "p", "verdict"]


def test_summary_of_a_finished_study():
    settings = {"bilevel.inner_steps": 4}
    search = result(
        "search-0003", Phase.SEARCH, "learned", settings=settings, metrics={"select_accuracy": 94.0, "seconds": 30.0}
    )
    results = [
        result("baselines-none", Phase.BASELINES, metrics={"select_accuracy": 75.0, "seconds": 9.0}),
        search,
        result("search-0004", Phase.SEARCH, "learned", outcome=Outcome.PRUNED, metrics={"select_accuracy": 60.0}),
        final("none", 11, 70.0, 10.0, origin="baselines-none"),
        final("none", 12, 74.0, 14.0, origin="baselines-none"),
        # Out of order: values and seeds follow the seed.
        final("learned-1", 12, 92.0, 33.0, method="learned", origin="search-0003", settings=settings),
        final("learned-1", 11, 90.0, 39.0, method="learned", origin="search-0003", settings=settings),
    ]
    summary = summarize("digits", results, 120.5, {"commit": "abc"})
    half_width = 12.706204736 * np.sqrt(2) / np.sqrt(2)
    assert summary["arms"][0] == {
        "name": "learned-1",
        "method": "learned",
        "settings": settings,
        "trials": ["final-learned-1-seed-11", "final-learned-1-seed-12"],
        "seeds": [11, 12],
        "score": "accuracy",
        "test_score": {"mean": 91.0, "ci95": pytest.approx(half_width), "values": [90.0, 92.0]},
        "select_score": 94.0,
        "seconds": 36.0,
        "cost_ratio": 3.0,
        "use_ratio": 3.0,
    }
    assert [arm["name"] for arm in summary["arms"]] == ["learned-1", "none"]
    assert summary["arms"][1]["cost_ratio"] == 1.0
    assert summary["arms"][1]["select_score"] == 75.0
    assert summary["phases"]["search"] == {"RUNNING": 0, "COMPLETE": 1, "PRUNED": 1, "FAIL": 0}
    assert summary["phases"]["final"]["COMPLETE"] == 4
    assert list(summary) == KEYS
    assert summary["answer"].startswith("The learned arm learned-1 ")
    assert summary["verdict"] == "better"  # differences 20 and 18: t = 19, p = 0.03
    assert [list(comparison) for comparison in summary["comparisons"]] == [COMPARISON_KEYS] * 2
    assert (summary["study"], summary["best"], summary["wall_seconds"]) == ("digits", "learned-1", 120.5)
    assert summary["provenance"] == {"commit": "abc"}
    assert summary["budget"] == ""


def test_a_frozen_arm_has_the_selection_of_what_it_repeats_and_its_learning_counts_once():
    search = result("search-0003", Phase.SEARCH, "learned", metrics={"select_accuracy": 94.0, "seconds": 30.0})
    online = final("learned-1", 1, 92.0, 36.0, method="learned", origin="search-0003")
    frozen = result(
        "final-frozen-1-seed-1",
        arm="frozen-1",
        method="frozen",
        seed=1,
        origin=online.trial.name,
        metrics={"test_accuracy": 93.0, "seconds": 46.0, "learning_seconds": 36.0},
    )
    summary = summarize("digits", [search, online, frozen, final("none", 1, 70.0, 10.0)], None, {})
    arm = summary["arms"][0]
    assert (arm["name"], arm["select_score"], arm["cost_ratio"]) == ("frozen-1", 94.0, 4.6)
    assert summary["training_seconds"] == {"baselines": 0.0, "search": 30.0, "final": 36.0 + 10.0 + 10.0}


def test_a_failed_final_seed_is_counted_and_leaves_the_others():
    failed = result(
        "final-none-seed-3", seed=3, outcome=Outcome.FAIL, reason="diverged at epoch 2, step 1", metrics={"epoch": 1}
    )
    summary = summarize("digits", [final("none", 1, 70.0, 10.0), failed, final("none", 2, 72.0, 10.0)], None, {})
    assert summary["arms"][0]["seeds"] == [1, 2]
    assert summary["arms"][0]["test_score"]["values"] == [70.0, 72.0]
    assert summary["phases"]["final"]["FAIL"] == 1


def test_an_arm_of_which_every_seed_failed_is_not_listed():
    results = [final("none", 1, 70.0, 10.0), result("final-flip-seed-1", arm="flip", outcome=Outcome.FAIL)]
    assert [arm["name"] for arm in summarize("digits", results, None, {})["arms"]] == ["none"]


def test_one_seed_has_no_interval_and_no_none_arm_no_cost_ratio():
    (arm,) = summarize("digits", [final("flip", 1, 70.0, 10.0)], None, {})["arms"]
    assert arm["test_score"] == {"mean": 70.0, "ci95": None, "values": [70.0]}
    assert arm["cost_ratio"] is None
    assert arm["select_score"] is None


@pytest.mark.parametrize("metrics", [{}, {"test_accuracy": float("nan")}, {"test_accuracy": float("inf")}])
def test_a_complete_final_trial_without_a_finite_test_accuracy_does_not_count(metrics):
    results = [final("none", 1, 70.0, 10.0), result("final-none-seed-2", seed=2, metrics=metrics)]
    (arm,) = summarize("digits", results, None, {})["arms"]
    assert arm["seeds"] == [1]


def test_missing_seconds_and_origin():
    results = [
        result("final-none-seed-1", seed=1, metrics={"test_accuracy": 70.0}, origin="gone"),
        final("flip", 1, 71.0, 10.0),
    ]
    flip, none = summarize("digits", results, None, {})["arms"]
    assert (none["seconds"], none["cost_ratio"], none["select_score"]) == (None, None, None)
    assert (flip["seconds"], flip["cost_ratio"]) == (10.0, None)


@pytest.mark.parametrize(
    "results",
    [
        [],
        [result("search-0000", Phase.SEARCH, "learned", outcome=Outcome.RUNNING, metrics={"select_accuracy": 50.0})],
        [result("final-none-seed-1", outcome=Outcome.RUNNING, metrics={"epoch": 3})],
    ],
)
def test_an_interrupted_study_has_no_arms(results):
    summary = summarize("digits", results, None, {})
    assert (summary["arms"], summary["best"]) == ([], None)
    assert sum(count for counts in summary["phases"].values() for count in counts.values()) == len(results)


def test_equal_arms_are_in_the_order_of_their_names():
    results = [final("flip", 1, 70.0, 10.0), final("affine", 1, 70.0, 10.0)]
    assert [arm["name"] for arm in summarize("digits", results, None, {})["arms"]] == ["affine", "flip"]


def test_summary_file_is_the_summary(tmp_path):
    summary = summarize("digits", [final("none", 1, np.float32(70.5), 10), final("none", 2, 71, 10.0)], 3.0, {})
    write_summary(tmp_path, summary)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert os.listdir(tmp_path) == ["summary.json"]


MIXED = [
    result(
        "search-0000",
        Phase.SEARCH,
        "learned",
        outcome=Outcome.FAIL,
        reason='out of memory, "CUDA"\nsecond line',
        settings={"augmenter.lr": 0.01, "bilevel.inner_steps": 4, "augmenter.ops": ["flip", "erase"], "seed": 5},
    ),
    result(
        "search-0001",
        Phase.SEARCH,
        "learned",
        settings={"augmenter.lr": 1, "augmenter.hidden": "wide", "augmenter.mix": True},
        metrics={"select_accuracy": 91.25, "seconds": 3.5, "epoch": 10},
    ),
    result("search-0002", Phase.SEARCH, "learned", seed=2, settings={"augmenter.mix": "no", "augmenter.flip": False}),
    final("none", 1, 71.0, 10.0),
]


def test_parquet_has_a_row_per_trial_and_a_column_per_setting(tmp_path):
    write_results(tmp_path, MIXED)
    table = pyarrow.parquet.read_table(tmp_path / "results.parquet")
    assert table.column_names[:8] == ["name", "phase", "arm", "method", "seed", "epochs", "outcome", "reason"]
    assert table.column_names[8:11] == ["select_accuracy", "test_accuracy", "seconds"]
    assert Counter(table.column_names).most_common(1)[0][1] == 1
    first, second, third, last = table.to_pylist()
    assert (first["outcome"], first["reason"]) == ("FAIL", 'out of memory, "CUDA"\nsecond line')
    assert (first["select_accuracy"], second["select_accuracy"], last["test_accuracy"]) == (None, 91.25, 71.0)
    assert (first["augmenter.lr"], second["augmenter.lr"], last["augmenter.lr"]) == (0.01, 1.0, None)
    assert (first["bilevel.inner_steps"], second["augmenter.hidden"]) == (4, "wide")
    assert first["augmenter.ops"] == '["flip", "erase"]'
    assert (second["augmenter.mix"], third["augmenter.mix"]) == ("true", '"no"')
    assert third["augmenter.flip"] is False
    assert (first["seed"], first["settings.seed"]) == (0, 5)


def test_every_metric_of_the_last_epoch_has_a_column(tmp_path):
    learned = {"test_accuracy": 92.0, "rotation_spread_deg": 26.5, "peak_memory_mib": float("inf")}
    write_results(tmp_path, [*MIXED, result("final-learned-1", arm="learned-1", method="learned", metrics=learned)])
    rows = pyarrow.parquet.read_table(tmp_path / "results.parquet").to_pylist()
    assert [row["rotation_spread_deg"] for row in rows] == [None, None, None, None, 26.5]
    assert [row["epoch"] for row in rows] == [None, 10.0, None, 10.0, None]
    assert rows[-1]["peak_memory_mib"] is None


def test_csv_says_the_same_as_parquet(tmp_path):
    write_results(tmp_path, MIXED)
    rows = pyarrow.parquet.read_table(tmp_path / "results.parquet").to_pylist()
    with (tmp_path / "results.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert len(read) == len(rows)
    for row, text in zip(rows, read, strict=True):
        for key, value in row.items():
            expected = "" if value is None else str(value).lower() if isinstance(value, bool) else value
            assert text[key] == expected or float(text[key]) == expected


def test_tables_of_no_trials_have_their_columns(tmp_path):
    write_results(tmp_path, [])
    table = pyarrow.parquet.read_table(tmp_path / "results.parquet")
    assert (table.num_rows, table.column_names[0]) == (0, "name")
    assert (tmp_path / "results.csv").read_text().startswith('"name","phase"')


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]
