"""Networks of one's own: made, tried with a batch, and refused if augmentation cannot be learned with them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parameters_to_vector
from torchvision.ops import StochasticDepth

from dabo_ray.assembly import check_files, make_study_pools, make_training
from dabo_ray.assembly.classifier import make_classifier
from dabo_ray.config.errors import ConfigError
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.splits import Pools
from dabo_ray.importing import ImportedError
from dabo_ray.models.pretrained import WeightsError
from dabo_ray.trials import Phase, Trial

StudyMaker = Callable[..., StudyConfig]
CPU = torch.device("cpu")


class Flat(nn.Module):
    """A network with something in its middle."""

    def __init__(self, middle: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.middle = middle
        self.last = nn.Linear(16, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.last(self.middle(self.first(images.flatten(1))))
        return scores


class Attention(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        heads = features.view(len(features), 1, 4, 4)
        return functional.scaled_dot_product_attention(heads, heads, heads).flatten(1)


class Drawn(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features + torch.rand_like(features)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Linear(2, 2)

    def forward(self, features: Tensor) -> Tensor:
        return features


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features):
        return features * 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return grad * 2


class Once(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = Doubled.apply(features)
        return out


MIDDLES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "dropout": lambda: nn.Dropout(0.5),
    "alpha": lambda: nn.AlphaDropout(0.5),
    "depth": lambda: StochasticDepth(0.5, "row"),
    "hard": nn.Hardsigmoid,
    "norm": lambda: nn.BatchNorm1d(16),
    "attention": Attention,
    "drawn": Drawn,
    "unused": Unused,
    "once": Once,
    "narrow": lambda: nn.Linear(16, 3),
}


def make(num_classes: int, middle: str = "relu", extra: int = 0) -> nn.Module:
    return Flat(MIDDLES[middle](), num_classes + extra)


def shaped(shape: tuple[int, int, int], num_classes: int, width: int) -> nn.Module:
    channels, height, side = shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * side, width), nn.Linear(width, num_classes))


def lazy(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))


def pixelwise(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, num_classes, 1))


def broken(num_classes: int) -> nn.Module:
    raise RuntimeError("out of ideas")


NO_NETWORK = 3
HERE = "own_networks_of_a_test"


@pytest.fixture(autouse=True)
def _module(monkeypatch: pytest.MonkeyPatch) -> None:
    """This file under a name that a study file can give."""
    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])


@pytest.mark.parametrize(
    "classifier",
    [
        f"{{import: '{HERE}:make'}}",
        f"{{import: '{HERE}:make', args: {{middle: dropout}}}}",
        f"{{import: '{HERE}:make', args: {{middle: norm}}, dropout: 0.3}}",
        f"{{import: '{HERE}:shaped', args: {{width: 5}}}}",
        "{import: 'dabo_ray.models.small_cnn:SmallCnn', args: {width: 8}}",
    ],
)
def test_networks_that_can_be_trained(classifier: str, make_study: StudyMaker, pools: Pools):
    study = make_study(f"classifier={classifier}", "classifier.epochs=1")
    check_files(study, pools)
    trial = Trial(name="t", phase=Phase.SEARCH, arm="learned", method="learned", seed=0, epochs=1)
    training = make_training(study, trial, make_study_pools(study))
    for number in range(3):
        training.step(number)
    first, again = (make_classifier(study.classifier, pools, 1, CPU) for _ in range(2))
    assert torch.equal(parameters_to_vector(first.parameters()), parameters_to_vector(again.parameters()))


def test_networks_of_pixels(make_study: StudyMaker):
    scenes = ("task=segmentation", "data={name: segmentation_digits}", "augmenter.name=affine")
    study = make_study(*scenes, f"classifier={{import: '{HERE}:pixelwise'}}")
    check_files(study, make_study_pools(study))
    study = make_study(*scenes, "classifier={import: 'dabo_ray.models.small_cnn:SmallCnn'}")
    with pytest.raises(ImportedError, match=r"gives \(4, 6\) for 4 images of 6 classes; it must give \(4, 6, 24, 24\)"):
        check_files(study, make_study_pools(study))


@pytest.mark.parametrize(
    ("classifier", "words"),
    [
        ("{import: 'no_such_module:make'}", r"classifier\.import: there is no module no_such_module"),
        (f"{{import: '{HERE}:nothing'}}", "has no nothing; it has"),
        (f"{{import: '{HERE}:NO_NETWORK'}}", "is no function or class, but int"),
        (f"{{import: '{HERE}:broken'}}", "RuntimeError: out of ideas"),
        (f"{{import: '{HERE}:lazy'}}", r"no shape before it is called: 1\.weight, 1\.bias; give its lazy"),
        (f"{{import: '{HERE}:make', args: {{depth: 3}}}}", r"depth=3: TypeError: .*look at classifier\.args"),
        (f"{{import: '{HERE}:make', args: {{extra: 1}}}}", r"gives \(4, 11\) for 4 images of 10 classes"),
        (f"{{import: '{HERE}:make', args: {{middle: narrow}}}}", "fails for 4 images of 1x8x8: mat1 and mat2"),
        (f"{{import: '{HERE}:make', args: {{middle: alpha}}}}", r"passed again.*middle \(AlphaDropout\)"),
        (f"{{import: '{HERE}:make', args: {{middle: depth}}}}", r"passed again.*middle \(StochasticDepth\)"),
        (f"{{import: '{HERE}:make', args: {{middle: hard}}}}", "differentiated twice .*hardsigmoid_backward is not"),
        (f"{{import: '{HERE}:make', args: {{middle: drawn}}}}", "something in it is drawn anew"),
        (f"{{import: '{HERE}:make', args: {{middle: unused}}}}", r"2 parameters that its scores do not .*idle\.weight"),
        (f"{{import: '{HERE}:make', args: {{middle: once}}}}", "cannot be differentiated twice .*once_differentiable"),
        (f"{{import: '{HERE}:make', args: {{middle: attention}}}}", r"differentiated twice .*SDPBackend\.MATH"),
        (f"{{import: '{HERE}:make', args: {{middle: norm}}, batch_size: 2}}", "Batch normalisation has one value"),
    ],
)
def test_networks_that_cannot(classifier: str, words: str, make_study: StudyMaker, pools: Pools):
    study = make_study(f"classifier={classifier}", "resources={workers: 2}")
    with pytest.raises(ImportedError, match=words):
        check_files(study, pools)


@pytest.mark.parametrize(
    ("classifier", "words"),
    [
        ("{import: nothing}", r"classifier\.import: got 'nothing'; give package\.module:name"),
        ("{import: 'a:b', name: resnet18}", "import and the name resnet18 are two networks"),
        ("{args: {width: 3}}", r"args are for import and timm/NAME"),
        ("{name: vgg}", r"classifier\.name: got 'vgg'.*'unet' or 'timm/NAME'"),
        ("{imported: 'a:b'}", r"classifier\.imported: unknown key; did you mean import\?"),
    ],
)
def test_wrong_sections(classifier: str, words: str, make_study: StudyMaker):
    with pytest.raises(ConfigError, match=words):
        make_study(f"classifier={classifier}")


def test_a_module_beside_the_study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_study, pools: Pools):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    name = "networks_beside_a_study"
    (tmp_path / f"{name}.py").write_text("import nothing_of_that_name\n")
    study = make_study(f"classifier={{import: '{name}:make'}}")
    with pytest.raises(ImportedError, match="needs nothing_of_that_name, which is not installed"):
        check_files(study, pools)
    (tmp_path / f"{name}.py").write_text("1 / 0\n")
    with pytest.raises(ImportedError, match="fails: ZeroDivisionError"):
        check_files(study, pools)
    code = "from torch import nn\ndef make(num_classes):\n    return nn.Sequential(nn.Flatten(), nn.LazyLinear(7))\n"
    (tmp_path / f"{name}.py").write_text(code.replace("nn.LazyLinear(7)", "nn.Linear(64, num_classes)"))
    check_files(study, pools)


def test_weights_are_for_every_network(tmp_path: Path, make_study: StudyMaker, pools: Pools):
    """The last layer for another number of classes starts anew."""
    theirs = make(3)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    given = f"import: '{HERE}:make', weights: {tmp_path / 'w.pth'}"
    network = make_classifier(make_study(f"classifier={{{given}}}").classifier, pools, 0, CPU)
    assert torch.equal(network.state_dict()["1.first.weight"], theirs.state_dict()["first.weight"])
    assert network.state_dict()["1.last.weight"].shape == (10, 16)
    with pytest.raises(WeightsError, match="another network"):
        check_files(make_study(f"classifier={{weights: {tmp_path / 'w.pth'}}}"), pools)


def test_timm_where_it_is_not(monkeypatch: pytest.MonkeyPatch, make_study: StudyMaker, pools: Pools):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportedError, match="timm is not installed here: pip install timm"):
        check_files(make_study("classifier={name: timm/resnet18}"), pools)


def test_timm_where_it_is(make_study: StudyMaker, pools: Pools):
    pytest.importorskip("timm")
    check_files(make_study("classifier={name: timm/resnet10t}"), pools)
    vit = "{name: timm/vit_tiny_patch16_224, args: {img_size: 8, patch_size: 4, depth: 1}}"
    check_files(make_study(f"classifier={vit}"), pools)
    with pytest.raises(ImportedError, match="timm has no network resnet19; it has"):
        check_files(make_study("classifier={name: timm/resnet19}"), pools)
    with pytest.raises(ImportedError, match=r"passed again.*DropPath"):
        check_files(make_study("classifier={name: timm/resnet10t, args: {drop_path_rate: 0.9}}"), pools)
