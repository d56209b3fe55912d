"""The recommendation of a study: its file, and code that runs as it stands."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

import dabo_ray
from dabo_ray.analysis.results import summarize
from dabo_ray.augment import export
from dabo_ray.config.file import check_study
from dabo_ray.config.schema.baselines import ARMS, NetworkConfig, arm_of
from dabo_ray.reporting.transform_code import baseline_steps, program
from dabo_ray.reporting.use_this import use_this
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult

BASE = {"study": "digits", "data": {"name": "digits"}}


def final(folder: Path, arm: str, method: str, index: int, test: float, **more: Any) -> TrialResult:
    """A final trial, with the file of its network if it has one of its own."""
    trial = Trial(
        name=f"final-{arm}-seed-{index}",
        phase=Phase.FINAL,
        arm=arm,
        method=method,
        seed=1000 - index,
        epochs=2,
        origin=more.get("origin"),
        settings=more.get("settings", {}),
    )
    if method in ("learned", "random_augmenter"):
        home = folder / "trials" / trial.name
        home.mkdir(parents=True)
        export.save(dabo_ray.AffineAugmenter(hidden=4), home / "augmenter.safetensors")
    metrics = {"test_accuracy": test, "seconds": 10.0, "outer_loss": more.get("loss", math.nan)}
    return TrialResult(trial=trial, outcome=Outcome.COMPLETE, metrics=metrics)


def recommended(folder: Path, raw: dict[str, Any], results: list[TrialResult]) -> dict[str, str]:
    study = check_study({**BASE, **raw}, "a test")
    found = use_this(folder, study, results, summarize("digits", results, 1.0, {})["arms"])
    assert found is not None
    return found


def run(code: str, then: str, cwd: Path) -> str:
    """What a script made of the code prints, run elsewhere than in the checkout."""
    package = Path(dabo_ray.__file__).parent.parent
    script = cwd / "train.py"
    script.write_text(f"{code}\n{then}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_learned_arm_is_its_best_seed_and_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a study's folder"
    losses = [0.5, 0.1, 0.3]
    results = [final(folder, "learned-1", "learned", at, 90.0 + at / 10, loss=loss) for at, loss in enumerate(losses)]
    results += [
        final(folder, "frozen-1", "frozen", at, 97.0 + at / 20, origin=f"final-learned-1-seed-{at}") for at in range(3)
    ]
    results += [final(folder, "none", "none", at, 70.0 - at / 10) for at in range(3)]
    monkeypatch.chdir(tmp_path)
    found = recommended(Path(folder.name), {}, results)
    assert found["arm"] == "frozen-1"
    file = folder / "trials" / "final-learned-1-seed-1" / "augmenter.safetensors"
    assert Path(found["file"]) == file, "the least outer loss, whatever the test says"
    assert "seed 1, of 3" in found["what"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    then = "from PIL import Image\nprint(tuple(transform(Image.new('RGB', (40, 30))).shape), transform.transforms[1])"
    assert "(3, 30, 40) LearnedTransform(rotation" in run(found["code"], then, elsewhere)


def test_a_base_made_by_hand_goes_before_what_was_learned(tmp_path: Path) -> None:
    results = [final(tmp_path, "learned-1", "learned", 0, 95.0)]
    found = recommended(tmp_path, {"augmenter": {"base": ["flip"], "conditioning": "class"}}, results)
    flip, learned = (found["code"].index(word) for word in ("RandomHorizontalFlip", "dabo_ray.load"))
    assert flip < learned
    assert "transform(image, label)" in found["what"]


def test_a_network_without_a_file_has_no_code(tmp_path: Path) -> None:
    results = [final(tmp_path, "stn", "stn", 0, 95.0)]
    found = recommended(tmp_path, {"baselines": ["stn"]}, results)
    assert (found["file"], found["code"]) == ("", "")
    labelled = [final(tmp_path, "untrained", "random_augmenter", 0, 95.0)]
    found = recommended(tmp_path, {"baselines": [{"name": "random_augmenter", "label": "untrained"}]}, labelled)
    assert found["file"] and "dabo_ray.load" in found["code"]


def test_a_tuned_baseline_has_the_settings_that_were_chosen(tmp_path: Path) -> None:
    settings = {"baselines.ra.magnitude": 14}
    results = [final(tmp_path, "ra-equal-cost", "ra", 0, 95.0, settings=settings)]
    raw = {"baselines": [{"name": "randaugment", "label": "ra", "tune": {"magnitude": {"choice": [5, 14]}}}]}
    assert "v2.RandAugment(num_ops=2, magnitude=14)" in recommended(tmp_path, raw, results)["code"]


def made_of(name: str, folder: Path) -> dict[str, Any]:
    """The section of a baseline, with what it cannot be without."""
    if name == "policy_file":
        (folder / "policy.json").write_text(json.dumps([[["Rotate", 0.5, 0.5], ["Cutout", 0.5, 0.5]]]))
        return {"name": name, "path": str(folder / "policy.json")}
    if name == "augmenter_file":
        export.save(dabo_ray.AffineAugmenter(hidden=4), folder / "a.safetensors")
        return {"name": name, "path": str(folder / "a.safetensors")}
    steps = ["flip_crop", "color_jitter", "cutout", {"name": "random_erasing", "value": 0.5}, "mixup"]
    return {"name": name, "steps": steps} if name == "compose" else {"name": name}


@pytest.mark.parametrize("name", [name for name, section in ARMS.items() if section is not NetworkConfig])
def test_the_code_of_every_baseline_runs(name: str, tmp_path: Path) -> None:
    arm = arm_of(ARMS[name].model_validate(made_of(name, tmp_path)))
    namespace: dict[str, Any] = {}
    exec(program(baseline_steps(arm)), namespace)
    torch.manual_seed(0)
    levels = torch.randint(0, 256, (40, 30, 3), dtype=torch.uint8)
    image = Image.fromarray(levels.numpy())
    plain = levels.permute(2, 0, 1) / 255
    is_of_single_images = name not in ("none", "mixup", "cutmix")
    changed = [namespace["transform"](image) for _ in range(20)]
    assert all(type(each) is tv_tensors.Image and each.shape == (3, 40, 30) for each in changed)
    assert all(each.dtype == torch.float32 and each.min() >= 0 and each.max() <= 1 for each in changed)
    assert any(not torch.allclose(each, plain) for each in changed) == is_of_single_images
    if name in ("mixup", "cutmix", "compose"):
        images, targets = namespace["mix"](torch.stack(changed[:4]), torch.tensor([0, 1, 2, 3]))
        assert images.shape == (4, 3, 40, 30) and targets.shape == (4, 10)
