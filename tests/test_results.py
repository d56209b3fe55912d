"""The results of a study in Python, and the comparison of studies on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import dabo_ray
from dabo_ray import report
from dabo_ray.augment import export
from dabo_ray.planning import plan
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult

ACCURACIES = {"none": (70.1, 70.3, 70.2), "learned-1": (96.0, 97.1, 97.9), "frozen-1": (97.9, 98.1, 98.0)}


def result(name: str, phase: Phase, arm: str, **more: Any) -> TrialResult:
    method = arm.partition("-")[0]
    trial = Trial(
        name=name,
        phase=phase,
        arm=arm,
        method=method,
        seed=more.pop("seed", 0),
        epochs=2,
        settings=more.pop("settings", {}),
        origin=more.pop("origin", None),
    )
    return TrialResult(trial=trial, outcome=Outcome.COMPLETE, metrics={"epoch": 2.0, "seconds": 10.0, **more})


def make(folder: Path, monkeypatch: pytest.MonkeyPatch, lead: float = 0.0, **keys: str) -> Path:
    """A finished study."""
    folder.mkdir(parents=True)
    lines = {"study": folder.name, "data": "{name: digits}", "baselines": "[none]", **keys}
    (folder / "study.yaml").write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    (folder / "plan.db").touch()
    (folder / "provenance.json").write_text(json.dumps({"dataset_digest": keys.get("digest", "abc")}))
    results = [result("search-0000", Phase.SEARCH, "learned", settings={"augmenter.hidden": 8}, select_accuracy=95.0)]
    for arm, values in ACCURACIES.items():
        for index, value in enumerate(values):
            name = f"final-{arm}-seed-{index}"
            origin = f"final-learned-1-seed-{index}" if arm == "frozen-1" else "search-0000"
            more = {"outer_loss": 1.0 / (1 + index % 2)} if arm == "learned-1" else {}
            test = value + (lead * (1 + index / 10) if arm == "learned-1" else 0)
            results.append(result(name, Phase.FINAL, arm, seed=50 - index, origin=origin, test_accuracy=test, **more))
            if arm == "learned-1":
                home = folder / "trials" / name
                home.mkdir(parents=True)
                torch.manual_seed(index)
                learned = dabo_ray.AffineAugmenter(hidden=4)
                export.save(learned, home / "augmenter.safetensors", description={"at": index})
    known = {**getattr(make, "known", {}), folder: results}
    monkeypatch.setattr(make, "known", known, raising=False)
    monkeypatch.setattr(plan, "read_results", known.__getitem__)
    return folder


def test_tables_of_trials_and_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = dabo_ray.load(make(tmp_path / "a", monkeypatch))
    assert isinstance(study, dabo_ray.StudyResults)
    trials, arms = study.trials(), study.arms()
    assert len(trials) == 10
    assert trials.set_index("name").loc["search-0000", "augmenter.hidden"] == 8
    assert trials.query("phase == 'final' and arm == 'none'")["test_accuracy"].tolist() == [70.1, 70.3, 70.2]
    assert arms["arm"].tolist() == ["frozen-1", "learned-1", "none"]
    best = arms.iloc[0]
    assert best["test_score"] == pytest.approx(98.0)
    assert best["low"] < 98.0 < best["high"] <= 100
    assert study.study.data.name == "digits"
    found = study.recommendation()
    assert found is not None and found["arm"] == "frozen-1"


def test_augmenters_of_arms_and_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = dabo_ray.StudyResults(make(tmp_path / "a", monkeypatch))
    for arm in ("learned-1", "frozen-1"):
        assert study.augmenter(arm).description == {"at": 1}, "the seed with the least outer loss"
        assert study.augmenter(arm, seed=2).description == {"at": 2}
    assert study.augmenter("learned-1")(torch.zeros(3, 8, 8)).shape == (3, 8, 8)
    for arm, seed in (("none", None), ("learned-1", 7), ("learned-2", 0)):
        with pytest.raises(ValueError, match="it has frozen-1: seeds 0, 1, 2; learned-1: seeds 0, 1, 2"):
            study.augmenter(arm, seed)


def test_what_is_neither_a_study_nor_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not the folder of a study"):
        dabo_ray.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        dabo_ray.load(tmp_path / "missing")
    export.save(dabo_ray.AffineAugmenter(hidden=4), tmp_path / "a.safetensors")
    assert isinstance(dabo_ray.load(tmp_path / "a.safetensors"), dabo_ray.LearnedTransform)


def compared(capsys: pytest.CaptureFixture[str], *folders: Path) -> tuple[int, str, str]:
    code = report.main([str(folder) for folder in folders])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_studies_of_the_same_data_are_compared_seed_by_seed(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    first, other = Path("a"), Path("b")
    make(first, monkeypatch)
    make(other, monkeypatch, lead=-5.0, classifier="{width: 64}")
    monkeypatch.setattr("dabo_ray.commands.compare.read_results", plan.read_results)
    code, out, _ = compared(capsys, first, other)
    assert code == 0
    words = " ".join(out.split())
    assert "classifier.width 32 64" in words or "classifier.width" in words
    assert "learned-1 -5.50" in words and "worse" in words
    assert "none +0.00" in words and "cannot be told apart" in words
    assert not (first / "report.html").exists()


def test_studies_of_different_data_are_refused(tmp_path, monkeypatch, capsys) -> None:
    first = make(tmp_path / "a", monkeypatch)
    other = make(tmp_path / "b", monkeypatch)
    (other / "provenance.json").write_text('{"dataset_digest": "other"}')
    code, _, err = compared(capsys, first, other)
    assert code == 2 and "with other images" in err
    code, _, err = compared(capsys, first, tmp_path / "missing")
    assert code == 2 and "there is no such folder" in err
