"""Torchvision's residual networks: sizes, pretrained weights that are taken or start anew, and refused files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from dabo_ray.models.imagenet import imagenet_resnet
from dabo_ray.models.pretrained import WeightsError, load_pretrained


def with_weights(name: Any, channels: int, num_classes: int, path: Path) -> nn.Module:
    network = imagenet_resnet(name, channels, num_classes)
    load_pretrained(network, path)
    return network


def state(network: nn.Module, **changes: Tensor) -> dict[str, Tensor]:
    return {**network.state_dict(), **changes}


@pytest.fixture
def pretrained(tmp_path: Path) -> tuple[nn.Module, Path]:
    network = torchvision.models.resnet18(num_classes=1000)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    return network, tmp_path / "weights.pth"


def test_weights_are_torchvisions(pretrained: tuple[nn.Module, Path]):
    theirs, path = pretrained
    images = torch.rand(2, 3, 64, 64)
    ours = with_weights("resnet18", 3, 1000, path)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))


def test_a_head_for_other_classes_starts_anew(pretrained: tuple[nn.Module, Path]):
    theirs, path = pretrained
    ours = with_weights("resnet18", 3, 4, path)
    assert ours.state_dict()["fc.weight"].shape == (4, 512)
    for name, value in theirs.state_dict().items():
        assert name.startswith("fc.") or torch.equal(ours.state_dict()[name], value)
    images = torch.rand(2, 3, 64, 64)
    theirs.fc = ours.fc
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))


def test_a_grey_network_has_one_channel_in_its_stem():
    network = imagenet_resnet("resnet18", 1, 4)
    assert network.conv1.weight.shape == (64, 1, 7, 7)
    # As torchvision draws it: normal with variance 2 over the fan out of 64 * 49.
    assert network.conv1.weight.std().item() == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("channels", "changes", "words"),
    [
        (1, {}, r"1 of another shape \(conv1.weight"),
        (3, {"conv9.weight": torch.zeros(1)}, r"1 of no layer of this network \(conv9.weight"),
        (3, {"bn1.weight": None}, r"1 missing \(bn1.weight"),
        (3, {"fc.weight": None}, r"1 missing \(fc.weight"),
    ],
)
def test_weights_of_another_network(tmp_path: Path, channels: int, changes: dict, words: str):
    values = state(torchvision.models.resnet18(num_classes=1000), **changes)
    torch.save({name: value for name, value in values.items() if value is not None}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=words):
        with_weights("resnet18", channels, 1000, tmp_path / "w.pth")


def test_weights_of_a_deeper_network(pretrained: tuple[nn.Module, Path]):
    with pytest.raises(WeightsError, match=r"another network: .* missing .* of another shape"):
        with_weights("resnet50", 3, 1000, pretrained[1])


class RunsCode:
    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.zeros(2)], "holds no state_dict"),
        ({"model": {"conv1.weight": torch.zeros(2)}}, "holds no state_dict"),
        ({"conv1.weight": RunsCode()}, "is not a file of weights"),
    ],
)
def test_files_that_hold_something_else(tmp_path: Path, monkeypatch, content: object, words: str):
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=words):
        with_weights("resnet18", 3, 10, tmp_path / "w.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"cannot read the weights .*absent.pth: No such file"):
        with_weights("resnet18", 3, 10, tmp_path / "absent.pth")


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 half an archive"])
def test_damaged_files(tmp_path: Path, content: bytes):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match="is not a file of weights"):
        with_weights("resnet18", 3, 10, tmp_path / "w.pth")


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def num_weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(
    ("make", "published"),
    [
        (lambda: imagenet_resnet("resnet18", 3, 1000), 11_689_512),
        (lambda: imagenet_resnet("resnet50", 3, 1000), 25_557_032),
    ],
    ids=["resnet18", "resnet50"],
)
def test_published_sizes(make, published: int):
    with torch.device("meta"):
        assert num_weights(make()) == published


@pytest.mark.parametrize("side", [8, 28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(side: int, channels: int):
    images = torch.rand(2, channels, side, side, generator=seeded())
    scores = imagenet_resnet("resnet18", channels, 7)(images)
    assert scores.shape == (2, 7)
    assert scores.isfinite().all()


def test_golden_imagenet_resnet(on_ramps):
    """From `on_ramps(imagenet_resnet("resnet18", 3, 3), 3, 32)`."""
    expected = torch.tensor(
        [
            [-1.0001101633467593, 1.0656801763161776e-05, 1.0001314769502856],
            [-16.124230346031215, 7.562116326884466, 31.248462999800147],
        ],
        dtype=torch.float64,
    )
    assert torch.allclose(on_ramps(imagenet_resnet("resnet18", 3, 3), 3, 32), expected, rtol=1e-9, atol=1e-12)
