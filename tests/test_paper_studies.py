"""The paper's configurations: their files pass the check, and a trial takes two steps on miniatures of their data."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dabo_ray import build
from dabo_ray.data.loader import Share
from dabo_ray.data.stream import Shards
from dabo_ray.key_paths import with_settings
from dabo_ray.study import main
from dabo_ray.study_file import read_study
from dabo_ray.trials import LEARNED, Phase, Trial
from tests.data.miniatures import bach, cifar_files, devkit, imagenet, tiny_imagenet, write_files

STUDIES = Path(__file__).resolve().parents[1] / "studies"
FILES = ["paper_cifar10_affine", "paper_cifar10_affine_color", "paper_bach", "paper_imagenet", "tiny_imagenet"]


def write_cifar(root: Path) -> None:
    write_files(root / "cifar-10-batches-py", cifar_files(coarse=False, binary=False)[0])


def write_imagenet(root: Path) -> None:
    devkit(root, imagenet(root, per_class=8))


def write_tiny(root: Path) -> None:
    write_files(root / "tiny-imagenet-200", tiny_imagenet(per_class=8)[0])


DATA: dict[str, tuple[Callable[[Path], object], int | None, bool]] = {
    "paper_cifar10_affine": (write_cifar, None, False),
    "paper_cifar10_affine_color": (write_cifar, None, False),
    "paper_bach": (lambda root: bach(root, per_class=8), 64, True),
    "paper_imagenet": (write_imagenet, 64, True),
    "tiny_imagenet": (write_tiny, None, False),
}
"""Study -> what writes its data, the side of the images for the test, whether they stream."""


@pytest.mark.parametrize("name", FILES)
def test_the_file_passes_the_check(name: str, capsys: pytest.CaptureFixture[str]):
    assert main([str(STUDIES / f"{name}.yaml"), "--check"]) == 0
    assert f"study       {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", FILES)
def test_two_steps(name: str, tmp_path: Path):
    write, size, streams = DATA[name]
    write(tmp_path)
    overrides = [
        f"data.root={tmp_path}",
        f"data.cache={tmp_path / 'cache'}",
        "data.select_fraction=0.25",
        "data.outer_fraction=0.25",
        *([f"data.image_size={size}"] if size else []),
    ]
    study = read_study(STUDIES / f"{name}.yaml", overrides)
    pools = build.make_study_pools(study)
    assert isinstance(pools.labelled.pixels, Shards) == streams
    roles = pools.roles(learned=True, final=False, outer_fraction=0.25, seed=1)
    study = with_settings(study, {"classifier.batch_size": len(roles.fit) // 2})
    trial = Trial(name="t", phase=Phase.SEARCH, arm="learned", method=LEARNED, seed=1, epochs=1)
    training = build.make_training(study, trial, pools, share=Share())
    assert len(training.fit) == 2
    assert training.learner is not None
    before = [weight.detach().clone() for weight in training.learner.augmenter.parameters()]
    (record,) = training.epochs()
    assert all(math.isfinite(value) for value in record.values())
    assert 0 <= record["select_accuracy"] <= 100 and record["hypergradient_norm"] > 0
    after = training.learner.augmenter.parameters()
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
