"""The benchmark of encoded images at a tiny size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision import datasets
from torchvision.transforms import v2

from dabo_ray.benchmarks import stream
from dabo_ray.benchmarks.measure import BenchmarkOptions
from dabo_ray.data.sources import Reading, load


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("NUM_IMAGES", 24), ("WIDTH", 60), ("HEIGHT", 48), ("SIDE", 32), ("BATCH", 8)):
        monkeypatch.setattr(stream, name, value)


@pytest.mark.usefixtures("_tiny")
def test_a_row_for_each_way_and_number_of_threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream, "PARALLEL", (1,))
    result = stream.run(BenchmarkOptions(torch.device("cpu"), repeats=2, threads=1))
    assert [row.unit for row in result.rows] == ["per_second"] * 3
    assert result.rows[0].ratio == 1
    assert torch.get_num_threads() == 1


@pytest.mark.usefixtures("_tiny")
def test_both_sides_see_the_same_images(tmp_path: Path):
    stream.write_images(tmp_path / "images")
    ours = load("image_folder", tmp_path / "images", Reading(str(tmp_path / "cache"), stream.SIDE, True)).labelled
    transform = v2.Compose([v2.Resize(stream.SIDE), v2.CenterCrop(stream.SIDE), v2.PILToTensor()])
    theirs = datasets.ImageFolder(str(tmp_path / "images"), transform)
    found = sorted(image.numpy().tobytes() for image in ours.images)
    assert found == sorted(image.numpy().tobytes() for image, _ in theirs)
