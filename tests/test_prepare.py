"""The command that converts a data set: what it prints, its exit codes, and what it asks of torchvision."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dabo_ray import prepare
from tests.data.miniatures import cifar_files, encoded, mnist, random_bytes, write_files


def test_a_data_set_is_converted_and_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    files, *_ = cifar_files(coarse=False, binary=False)
    write_files(tmp_path / "cifar-10-batches-py", files)
    cache = tmp_path / "cache"
    assert prepare.main(["cifar10", "--root", str(tmp_path), "--cache", str(cache)]) == 0
    said = capsys.readouterr().out
    assert "100 labelled images, 20 test images" in said and "32x32, colour; 10 classes" in said
    assert str(cache) in said.replace("\n", "") and "MiB" in said
    assert [path.suffix for path in cache.iterdir() if path.suffix != ".lock"] == [".arrow"]


def test_encoded_images_are_converted_to_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("a", "b"):
        write_files(tmp_path / name, {f"{i}.png": encoded(random_bytes(3, 8, 8, seed=i)) for i in range(3)})
    arguments = ["image_folder", "--root", str(tmp_path), "--cache", str(tmp_path / "cache"), "--streaming", "always"]
    assert prepare.main(arguments) == 0
    assert "6 labelled images, no published test set" in capsys.readouterr().out
    assert list((tmp_path / "cache").glob("*/0-00000.parquet"))


@pytest.mark.parametrize("arguments", [["mnist"], ["bach"], ["imagenet", "--download"], ["parquet"]])
def test_missing_data_is_told_with_exit_code_two(arguments: list[str], tmp_path: Path, capsys: Any):
    assert prepare.main([*arguments, "--root", str(tmp_path), "--cache", str(tmp_path / "cache")]) == 2
    _, err = capsys.readouterr()
    assert arguments[0] in err.lower() and "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["svhn"], ["mnist", "--image-size", "4"], []])
def test_wrong_arguments(arguments: list[str]):
    with pytest.raises(SystemExit) as caught:
        prepare.main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("name", "torchvision_name"),
    [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")],
)
def test_downloads_are_torchvisions(name: str, torchvision_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The stand-in puts files where torchvision does; they are found there."""
    calls = []

    class Downloader:
        def __init__(self, root: str, download: bool) -> None:
            calls.append((root, download))
            if name.endswith("mnist"):
                mnist(Path(root) / torchvision_name / "raw", zipped=False)
            else:
                coarse = name == "cifar100"
                folder = "cifar-100-python" if coarse else "cifar-10-batches-py"
                write_files(Path(root) / folder, cifar_files(coarse, binary=False)[0])

    monkeypatch.setattr(f"torchvision.datasets.{torchvision_name}", Downloader)
    assert prepare.main([name, "--root", str(tmp_path), "--cache", str(tmp_path / "cache"), "--download"]) == 0
    assert calls == [(str(tmp_path), True)]


def test_a_download_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def fail(root: str, download: bool) -> None:
        raise RuntimeError("no route to host")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", fail)
    assert prepare.main(["cifar10", "--root", str(tmp_path), "--download"]) == 2
    assert "the download of cifar10" in capsys.readouterr().err


def test_the_command(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "dabo_ray.prepare", "digits"],
        capture_output=True,
        text=True,
        cwd=Path.cwd(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1,797 labelled images, no published test set" in done.stdout
