"""A map-style data set of one's own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dabo_ray.config.errors import ConfigError
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.images import DataError
from dabo_ray.data.sources import Reading, Source, load
from dabo_ray.importing import ImportedError
from dabo_ray.study import main
from tests.data.miniatures import random_bytes

HERE = "own_data_sets_of_a_test"
PICTURES = [random_bytes(3, 8, 10, seed=number) for number in range(60)]
TENSORS = [(picture, number % 3) for number, picture in enumerate(PICTURES)]
GREY = [(picture[:1], np.int64(number % 2)) for number, picture in enumerate(PICTURES)]
PIL = [(Image.fromarray(p.permute(1, 2, 0).numpy()), torch.tensor(i % 2)) for i, p in enumerate(PICTURES)]
SIXTEEN_BIT = [(Image.fromarray(np.full((8, 8), 65535 * (i % 2), np.uint16)), i % 2) for i in range(20)]
FLOATS = [(Image.fromarray(np.full((8, 8), i % 2, np.float32)), i % 2) for i in range(20)]
FLOAT_TENSORS = [(picture / 255, 0) for picture in PICTURES]
ARRAYS = [(picture.numpy(), number % 2) for number, picture in enumerate(PICTURES)]
TEXTS = [(picture, "cat") for picture in PICTURES]
TRIPLES = [(picture, 0, 0) for picture in PICTURES]
ONE_CLASS = [(picture, 0) for picture in PICTURES]
NUMBER, EMPTY = 3, []  # type: ignore[var-annotated]


class WithTargets:
    """As torchvision's are."""

    classes = ("cat", "dog")
    targets = [0, 1] * 30

    def __len__(self) -> int:
        return 60

    def __getitem__(self, place: int) -> Any:
        return PICTURES[place], self.targets[place]


class Random(WithTargets):
    def __getitem__(self, place: int) -> Any:
        return torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8), 0


class Failing(WithTargets):
    def __getitem__(self, place: int) -> Any:
        raise KeyError("no such photo")


def unready() -> Any:
    raise RuntimeError("disk not mounted")


def made() -> Any:
    return TENSORS


@pytest.fixture(autouse=True)
def _module(monkeypatch: pytest.MonkeyPatch) -> None:
    """This file under a name that a study file can give."""
    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])


def read(name: str, folder: Path, **options: Any) -> Source:
    return load("imported", f"{HERE}:{name}", Reading(cache=str(folder / "cache"), **options))


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("name", ["TENSORS", "made"])
def test_tensors(name: str, streaming: bool, tmp_path: Path):
    source = read(name, tmp_path, streaming=streaming)
    assert source.classes == ["0", "1", "2"] and source.test is None
    found = {tuple(image.flatten().tolist()): label for image, label in zip(*parts(source), strict=True)}
    assert found == {tuple(picture.flatten().tolist()): label for picture, label in TENSORS}


def parts(source: Source) -> tuple[torch.Tensor, list[int]]:
    return source.labelled.images, source.labelled.labels.tolist()


def test_images_of_pil_and_grey_tensors(tmp_path: Path):
    assert torch.equal(read("PIL", tmp_path).labelled.images, torch.stack(PICTURES))
    grey = read("GREY", tmp_path).labelled.images
    assert torch.equal(grey, torch.stack(PICTURES)[:, :1].expand(-1, 3, -1, -1))
    for name in ("SIXTEEN_BIT", "FLOATS"):
        images = read(name, tmp_path).labelled.images
        assert images[0].max() == 0 and images[1].min() == 255


def test_targets_and_classes_are_torchvisions(tmp_path: Path):
    source = read("WithTargets", tmp_path, convert=False)
    assert source.classes == ["cat", "dog"]
    assert source.labelled.labels.tolist() == [0, 1] * 30


def test_other_items_are_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = read("TENSORS", tmp_path).labelled.images.clone()
    monkeypatch.setattr(sys.modules[HERE], "TENSORS", [(255 - picture, label) for picture, label in TENSORS])
    assert torch.equal(read("TENSORS", tmp_path).labelled.images, 255 - before)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "has no nothing"),
        ("NUMBER", "NUMBER is int, not a sequence"),
        ("EMPTY", "EMPTY has no items"),
        ("unready", r"unready\(\) fails: RuntimeError: disk not mounted"),
        ("Failing", "item 0 of .*:Failing fails: KeyError: 'no such photo'"),
        ("TRIPLES", "item 0 of .*:TRIPLES is tuple, not a pair"),
        ("TEXTS", "item 0 of .*:TEXTS has the label 'cat'; labels are whole numbers"),
        ("FLOAT_TENSORS", r"two classes or more|is a tensor of torch.float32 and \(3, 8, 10\); give a PIL image"),
        ("ARRAYS", "has ndarray for an image; give a PIL image"),
        ("ONE_CLASS", "two classes or more"),
        ("Random", "gives other pixels when item 0 is asked for again"),
    ],
)
def test_what_cannot_be_used(name: str, words: str, tmp_path: Path):
    with pytest.raises((ImportedError, DataError), match=words):
        read(name, tmp_path)


def test_a_study_of_it_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "s.yaml"
    file.write_text(f"study: s\ndata: {{import: '{HERE}:WithTargets'}}\n")
    assert main([str(file), "--check"]) == 0
    told = capsys.readouterr().out
    assert f"data        {HERE}:WithTargets, outer" in told and "60 of 2 classes, 10x8 colour" in told and "cat" in told
    file.write_text(f"study: s\ndata: {{import: '{HERE}:ARRAYS'}}\n")
    assert main([str(file), "--check"]) == 2
    assert "data.import: item 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{name: imported}", "the name imported needs import"),
        ("{name: digits, import: 'a:b'}", "import and the name digits are two data sets"),
        ("{import: photos}", r"has 1 problem:\n  data\.import: got 'photos'; give package\.module:name"),
        ("{import: 'a:b', groups: '(.)'}", "groups is for .* remove it for imported"),
    ],
)
def test_wrong_sections(data: str, words: str, make_study: Callable[..., StudyConfig]):
    with pytest.raises(ConfigError, match=words):
        make_study(f"data={data}")
