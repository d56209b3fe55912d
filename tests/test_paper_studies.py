"""The paper's configurations: their files pass the check, and a trial takes two steps on miniatures of their data."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.optim.lr_scheduler import MultiStepLR

from dabo_ray import assembly
from dabo_ray.assembly.augmentation import make_base
from dabo_ray.assembly.classifier import make_schedule
from dabo_ray.augment.fixed import Compose, Identity
from dabo_ray.augment.geometric import Flip, FlipCrop
from dabo_ray.config.file import read_study
from dabo_ray.config.key_paths import with_settings
from dabo_ray.data.stream import Shards
from dabo_ray.study import main
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
def test_the_file_passes_the_check(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """With miniatures of its data, of which nothing is converted."""
    write, size, _ = DATA[name]
    write(tmp_path)
    small = [] if size is None else ["--set", f"data.image_size={size}"]
    options = [
        "--check",
        "--set",
        "data.select_fraction=0.1",
        "--set",
        f"data.root={tmp_path}",
        "--set",
        f"data.cache={tmp_path / 'cache'}",
        *small,
    ]
    assert main([str(STUDIES / f"{name}.yaml"), *options]) == 0
    told = capsys.readouterr().out
    assert f"study       {name}" in told and "images      " in told
    assert not (tmp_path / "cache").exists()


PUBLISHED = {
    "paper_cifar10_affine": ([60, 120, 160], 0.2),
    "paper_cifar10_affine_color": ([60, 120, 160], 0.2),
    "paper_bach": ([6, 10, 20], 0.1),
    "paper_imagenet": ([30, 60], 0.1),
}
"""Study -> epochs after which the published step size falls, and by how much."""


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("length", [17, 1250])
def test_step_sizes_are_the_published_ones(name: str, length: int):
    config = read_study(STUDIES / f"{name}.yaml").classifier
    schedule = make_schedule(config, config.epochs)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], config.lr)
    milestones, decay = PUBLISHED[name]
    theirs = MultiStepLR(optimizer, milestones, decay)
    for epoch in range(config.epochs):
        for update in (epoch * length, (epoch + 1) * length - 1):
            assert schedule.lr_at(update, length) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("name", ["paper_cifar10_affine", "paper_cifar10_affine_color"])
def test_images_of_cifar_are_mirrored_before_the_augmenter_has_them(name: str):
    base = make_base(read_study(STUDIES / f"{name}.yaml").augmenter, 10)
    assert isinstance(base, Compose)
    assert [type(step) for step in base.steps] == [Flip]


def test_images_of_imagenet_are_cropped_and_mirrored_before_the_augmenter_has_them():
    base = make_base(read_study(STUDIES / "paper_imagenet.yaml").augmenter, 1000)
    assert isinstance(base, Compose)
    (step,) = base.steps
    assert isinstance(step, FlipCrop)
    assert step.crop.padding == 4


def test_images_of_bach_are_as_they_are_before_the_augmenter_has_them():
    assert isinstance(make_base(read_study(STUDIES / "paper_bach.yaml").augmenter, 4), Identity)


@pytest.mark.parametrize("name", FILES)
def test_two_steps(name: str, tmp_path: Path):
    write, size, streams = DATA[name]
    write(tmp_path)
    overrides = [
        f"data.root={tmp_path}",
        f"data.cache={tmp_path / 'cache'}",
        "data.select_fraction=0.25",
        "data.outer_fraction=0.25",
        "bilevel.warmup_loss=null",
        *([f"data.image_size={size}"] if size else []),
    ]
    study = read_study(STUDIES / f"{name}.yaml", overrides)
    pools = assembly.make_study_pools(study)
    assert isinstance(pools.labelled.pixels, Shards) == streams
    roles = pools.roles(learned=True, final=False, outer_fraction=0.25, seed=1)
    study = with_settings(study, {"classifier.batch_size": len(roles.fit) // 2})
    trial = Trial(name="t", phase=Phase.SEARCH, arm="learned", method=LEARNED, seed=1, epochs=1)
    training = assembly.make_training(study, trial, pools)
    assert len(training.fit) == 2
    assert training.learner is not None
    before = [weight.detach().clone() for weight in training.learner.augmenter.parameters()]
    (record,) = training.epochs()
    assert all(math.isfinite(value) for value in record.values())
    assert 0 <= record["select_accuracy"] <= 100 and record["hypergradient_norm"] > 0
    after = training.learner.augmenter.parameters()
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
