"""Mixup and CutMix, with torchvision as the oracle: each image's draw as if it were a whole batch's."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest
from torchvision.transforms import v2

from dabo_ray.augment.mixing import CutMix, Mixup, dirichlet


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.randint(0, 5, (60,), generator=seeded(2))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_mixup_equals_torchvision(noise, labels, alpha: float) -> None:
    augment, theirs = Mixup(5, alpha=alpha), v2.MixUp(num_classes=5)
    images = noise(60, 3, 10, 12) / 255
    (share,) = params = augment.draw(60, seeded())
    output, targets = augment.apply(images, params), augment.targets(labels, images, params)
    for index, lam in enumerate(share.tolist()):
        given = {"lam": lam, "labels": labels, "batch_size": 60}
        torch.testing.assert_close(output[index], theirs.transform(images, given)[index])
        torch.testing.assert_close(targets[index], theirs.transform(labels, given)[index])


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_cutmix_equals_torchvision(noise, labels, alpha: float, monkeypatch) -> None:
    """Torchvision's own rectangles, from our shares and centres."""
    augment, theirs = CutMix(5, alpha=alpha), v2.CutMix(num_classes=5)
    images = noise(60, 3, 10, 14) / 255
    share, centres = params = augment.draw(60, seeded())
    output, targets = augment.apply(images, params), augment.targets(labels, images, params)
    for index, (lam, (y, x)) in enumerate(zip(share, centres.tolist(), strict=True)):
        monkeypatch.setattr(theirs._dist, "sample", lambda _, lam=lam: lam)
        places = iter([int(x * 14), int(y * 10)])
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randint", lambda *_, size, places=places: torch.tensor([next(places)]))
            given = theirs.make_params([images]) | {"labels": labels, "batch_size": 60}
        torch.testing.assert_close(output[index], theirs.transform(images, given)[index])
        torch.testing.assert_close(targets[index], theirs.transform(labels, given)[index])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_beta(alpha: float) -> None:
    for augment in (Mixup(5, alpha=alpha), CutMix(5, alpha=alpha)):
        share = augment.draw(5000, seeded())[0]
        assert kstest(share.numpy(), "beta", (alpha, alpha)).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [0.01, 1.0, 100.0])
def test_shares_of_a_dirichlet_sum_to_one(alpha: float) -> None:
    shares = dirichlet(alpha, 1000, 3, seeded())
    torch.testing.assert_close(shares.sum(1), torch.ones(1000, dtype=torch.float64))
    assert shares.min() >= 0


def test_labels_follow_the_pixels() -> None:
    """White images paste into black ones: the share of white is the share of the label."""
    images = torch.tensor([0.0, 1.0])[torch.arange(40) % 2][:, None, None, None].expand(40, 1, 9, 7)
    params = CutMix(2).draw(40, seeded())
    output, targets = CutMix(2).apply(images, params), CutMix(2).targets(torch.arange(40) % 2, images, params)
    torch.testing.assert_close(output.mean((1, 2, 3)), targets[:, 1])
