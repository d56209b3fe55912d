"""The arithmetic of a comparison, and the command around it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dabo_ray import bench
from dabo_ray.benchmarks import measure
from dabo_ray.benchmarks.measure import BenchmarkOptions, BenchmarkResult, PerformanceBudget, Row

OPTIONS = BenchmarkOptions(torch.device("cpu"), repeats=3, threads=1)


def test_ratios_are_taken_within_a_round():
    samples = {"plain": [1.0, 10.0, 2.0], "ours": [2.0, 20.0, 6.0]}
    plain, ours = measure.rows_of(samples, "plain", "seconds")
    assert (plain.value, plain.ratio) == (2.0, 1.0)
    # The medians alone, 6 and 2, would give 3.
    assert (ours.value, ours.ratio) == (6.0, 2.0)


def test_every_case_is_measured_in_every_round():
    order: list[str] = []
    told: list[str] = []
    samples = measure.time_side_by_side(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")},
        replace(OPTIONS, show_progress=told.append),
        warm_up=1,
    )
    assert order == ["a", "b"] * 4
    assert [told[0], told[-1]] == ["round 1 of 4: a", "round 4 of 4: b"]
    assert {name: len(values) for name, values in samples.items()} == {"a": 3, "b": 3}


@pytest.mark.parametrize(
    ("budget", "met"),
    [
        (PerformanceBudget("x", 1.0, 1.0), True),
        (PerformanceBudget("x", 1.1, 1.0), False),
        (PerformanceBudget("x", 12.0, 10.0, at_least=True), True),
        (PerformanceBudget("x", 9.0, 10.0, at_least=True), False),
    ],
)
def test_budgets(budget: PerformanceBudget, met: bool):
    assert budget.met == met


def test_the_file_has_rows_budgets_and_environment(tmp_path: Path):
    result = BenchmarkResult("step", [Row("plain", "seconds", 0.5, 1.0, 0.1)], [PerformanceBudget("b", 2.0, 3.0)])
    measure.write_json(result, OPTIONS, tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["rows"] == [{"name": "plain", "seconds": 0.5, "ratio": 1.0, "spread": 0.1}]
    assert written["budgets"] == [{"name": "b", "measured": 2.0, "budget": 3.0, "at_least": False, "met": True}]
    assert written["environment"]["torch"] == torch.__version__.partition("+")[0]
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize(("met", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_says_whether_budgets_are_met(met: bool, code: int, monkeypatch, capsys):
    class Module:
        @staticmethod
        def run(options: BenchmarkOptions) -> BenchmarkResult:
            return BenchmarkResult(
                "fake", [Row("plain", "seconds", 1.0, 1.0)], [PerformanceBudget("b", 1.0, 2.0 if met else 0.5)]
            )

    monkeypatch.setattr(bench, "SUBJECTS", {"fake": "a stand-in"})
    monkeypatch.setattr("importlib.import_module", lambda name: Module)
    assert bench.main(["fake", "--threads", str(torch.get_num_threads())]) == code
    assert ("met: b" if met else "MISSED: b") in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["no such subject"], ["fake", "--repeats", "0"], []])
def test_wrong_arguments(arguments: list[str], monkeypatch):
    monkeypatch.setattr(bench, "SUBJECTS", {"fake": "a stand-in"})
    with pytest.raises(SystemExit) as caught:
        bench.main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize("arguments", [["fake", "--json", "no/such/folder/f.json"], ["fake", "--device", "no-device"]])
def test_what_cannot_be_used_is_refused_before_measuring(arguments: list[str], monkeypatch, capsys):
    monkeypatch.setattr(bench, "SUBJECTS", {"fake": "a stand-in"})
    assert bench.main(arguments) == 2
    assert arguments[2] in capsys.readouterr().err
