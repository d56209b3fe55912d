"""From a folder of images to a study file that passes --check, with nothing edited by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from dabo_ray import init
from dabo_ray.commands import first_look
from dabo_ray.commands.suggest import Found, suggest
from dabo_ray.config.file import leading_comment, read_study
from dabo_ray.config.schema import StudyConfig
from dabo_ray.study import main as study
from tests.data.miniatures import encoded, hub_parquet, random_bytes, write_files

Init = Callable[..., int]


@pytest.fixture
def run_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Init:
    """Runs the command in `tmp_path`, with a cache of its own and no weights at hand."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return lambda *arguments: init.main(arguments)


def write_images(folder: Path, sizes: dict[str, tuple[int, int, int]]) -> None:
    for label, (number, height, width) in sizes.items():
        files = {f"{i}.png": encoded(random_bytes(3, height, width, seed=i)) for i in range(number)}
        write_files(folder / label, files)


def test_a_folder_becomes_a_study_file_that_passes_the_check(
    run_init: Init, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_images(tmp_path / "my photos #1", {"cat: a": (60, 40, 50), "dog": (20, 40, 50), "emu": (3, 40, 50)})
    (tmp_path / "my photos #1" / "notes.txt").write_text("no image")
    assert run_init("--images", "my photos #1") == 0
    told, err = capsys.readouterr()
    assert "83 of 3 classes, 50x40 colour, from files of 50x40" in told
    assert "left out 1 files that are no images" in err
    assert "emu (3)" in err and "warning: " in err
    assert "python -m dabo_ray.study my-photos-1.yaml" in told and "trainings at once" in told
    file = tmp_path / "my-photos-1.yaml"
    config = read_study(file)
    assert config.search.objective == {"select_balanced_accuracy": "maximize"}
    assert leading_comment(file.read_text()).startswith("Question: which augmentation should be used on the images of")
    assert all(len(line) <= 160 for line in file.read_text().splitlines())
    before = file.read_text()
    assert study([str(file), "--check"]) == 0
    assert run_init("--images", "my photos #1") == 2
    assert "my-photos-1.yaml is there already; give another --file" in capsys.readouterr().err
    assert file.read_text() == before


def test_parquet_is_found(run_init: Init, tmp_path: Path):
    files = [encoded(random_bytes(3, 16, 16, seed=i)) for i in range(60)]
    (tmp_path / "set").mkdir()
    hub_parquet(tmp_path / "set" / "train.parquet", files, [i % 2 for i in range(60)])
    assert run_init("--images", "set", "--file", "s.yaml") == 0
    assert read_study(tmp_path / "s.yaml").data.name == "parquet"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--images", "nowhere"], "nowhere is neither a folder nor a zip"),
        (["--images", "empty"], "found 0 images and 0 classes"),
        (["--images", "empty", "--file", "no/such.yaml"], "the folder of no/such.yaml is not there"),
        (["--images", "broken"], "4 of 40 images cannot be read"),
    ],
)
def test_what_cannot_be_used(
    arguments: list[str], words: str, run_init: Init, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "empty").mkdir()
    write_images(tmp_path / "broken", {"a": (20, 16, 16), "b": (20, 16, 16)})
    for number in range(4):
        (tmp_path / "broken" / "a" / f"{number}.png").write_bytes(b"broken")
    assert run_init(*arguments) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("*.yaml"))


def found(sizes: dict[tuple[int, int], int], *, images: int = 400, gpu: bool = False, weights: bool = False) -> Found:
    return Found(
        "photos",
        "image_folder",
        {"a": images // 2, "b": images - images // 2},
        sizes,
        has_test=False,
        has_gpu=gpu,
        weights=Path("resnet18-f37072fd.pth") if weights else None,
    )


def settings(of: Found) -> StudyConfig:
    return StudyConfig.model_validate({"study": "s", **{choice.key: choice.value for choice in suggest(of)}})


@pytest.mark.parametrize(
    ("of", "side", "classifier", "labels"),
    [
        (found({(20, 28): 9}), None, "small_cnn", None),
        (found({(20, 28): 9, (22, 28): 1}), 20, "small_cnn", None),
        (found({(640, 480): 9}), 64, "small_cnn", None),
        (found({(640, 480): 9}, images=90_000), 64, "small_cnn", 5000),
        (found({(640, 480): 9}, gpu=True, images=90_000), 128, "resnet18", None),
        (found({(640, 480): 9}, weights=True), 64, "resnet18_imagenet", None),
        (found({(640, 480): 9}, gpu=True, weights=True), 224, "resnet18_imagenet", None),
        (found({(28, 28): 9}, weights=True), None, "small_cnn", None),
    ],
)
def test_suggestions(of: Found, side: int | None, classifier: str, labels: int | None):
    study = settings(of)
    assert study.data.image_size == side
    assert study.classifier.name == classifier
    assert study.data.num_labels == labels
    assert bool(study.classifier.weights) == (classifier == "resnet18_imagenet")
    assert study.resources.gpus_per_worker == (1 if of.has_gpu else 0)


def test_weights_at_hand_are_used(run_init: Init, tmp_path: Path):
    from torchvision import models

    checkpoints = tmp_path / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.save(models.resnet18().state_dict(), checkpoints / "resnet18-0000.pth")
    write_images(tmp_path / "large", {"a": (20, 70, 90), "b": (20, 80, 70)})
    assert run_init("--images", "large") == 0
    written = yaml.safe_load((tmp_path / "large.yaml").read_text())
    assert written["classifier"]["weights"] == str(checkpoints / "resnet18-0000.pth")
    assert written["data"]["image_size"] == 64


def test_the_measured_time_counts_every_trial(monkeypatch: pytest.MonkeyPatch, tiny_study: Callable[..., StudyConfig]):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    assert first_look._time(tiny_study(), 240.0).startswith("about 2 min 0 s of training, 2 trainings at once")
