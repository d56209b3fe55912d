"""Readiness, and an augmenter that rests until it is reached."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy.stats import entropy
from torch import nn
from torch.nn.functional import cross_entropy

from dabo_ray import BilevelStep
from dabo_ray.augment.affine import AffineAugmenter, AffineMatrixAugmenter
from dabo_ray.augment.affine_color import AffineColorAugmenter
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.policy import PolicyAugmenter
from dabo_ray.bilevel.objective import least_cross_entropy
from dabo_ray.bilevel.readiness import Readiness
from dabo_ray.models.small_cnn import SmallCnn

CPU = torch.device("cpu")


def reached_after(losses: list[float], readiness: Readiness) -> int | None:
    """Updates after which it is reached; None: not by these losses."""
    for number, loss in enumerate(losses, start=1):
        if readiness.is_reached(torch.tensor(loss)):
            return number
    return None


def test_it_is_reached_when_the_mean_loss_has_fallen_to_the_share_of_the_first():
    assert reached_after([2.0] * 50 + [0.1] * 100, Readiness(0.2)) == 90  # 2 * 0.95^37 + 0.1 * (1 - 0.95^37) = 0.385
    assert reached_after([2.0] * 50 + [0.5] * 1000, Readiness(0.2)) is None
    assert reached_after([2.0] + [0.0] * 2 + [2.0] * 200, Readiness(0.2)) is None


def test_not_before_the_earliest_update():
    assert reached_after([1.0] + [0.0] * 200, Readiness(0.5, earliest=75)) == 80


def test_goes_on_from_its_state():
    losses = [2.0] * 20 + [0.1] * 100
    first, second = Readiness(0.3), Readiness(0.3)
    assert reached_after(losses[:33], first) is None
    second.load_state_dict(first.state_dict(), CPU)
    left = reached_after(losses[33:], second)
    assert left is not None
    assert 33 + left == reached_after(losses, Readiness(0.3))


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_share_out_of_range(share: float):
    with pytest.raises(ValueError, match=r"share must be in \(0, 1\]"):
        Readiness(share)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_the_least_cross_entropy_is_the_entropy_of_the_labels(smoothing: float):
    """Against scipy; and the cross entropy of scores that say the labels reaches it."""
    shares = torch.tensor([[0.7, 0.3, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    smoothed = (1 - smoothing) * shares + smoothing / 4
    least = least_cross_entropy(shares, num_classes=4, label_smoothing=smoothing)
    assert float(least) == pytest.approx(entropy(smoothed.numpy(), axis=1).sum(), abs=1e-12)
    scores = (smoothed + 1e-30).log()
    reached = cross_entropy(scores, shares, reduction="sum", label_smoothing=smoothing)
    assert float(least) == pytest.approx(float(reached), abs=1e-9)
    hard = least_cross_entropy(torch.tensor([1, 1, 3]), num_classes=4, label_smoothing=smoothing)
    alone = least_cross_entropy(shares[1:], num_classes=4, label_smoothing=smoothing)
    assert float(hard) == pytest.approx(3 * float(alone), abs=1e-6)


@pytest.mark.parametrize("make", [AffineAugmenter, AffineColorAugmenter, PolicyAugmenter])
def test_at_rest_images_stay_as_they_are_and_awake_it_does_what_it_did(make: Callable[[], Augmenter]):
    augmenter = make()
    images = torch.rand(300, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    params = augmenter.draw(300, torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = augmenter(images, *params)
        assert augmenter.rest()
        rested = augmenter(images, *params)
        augmenter.wake()
        torch.testing.assert_close(augmenter(images, *params), before, rtol=0, atol=1e-4)
    changed = ((rested - images).abs().amax((1, 2, 3)) > 1e-4).float().mean()
    assert changed <= (0.05 if make is PolicyAugmenter else 0)
    assert ((before - images).abs().amax((1, 2, 3)) > 1e-2).float().mean() > 0.5


def test_the_published_form_cannot_rest():
    augmenter = AffineMatrixAugmenter(noise=6, hidden=8)
    before = [weight.clone() for weight in augmenter.parameters()]
    assert not augmenter.rest()
    assert all(map(torch.equal, before, augmenter.parameters()))


def test_in_a_loop_of_ones_own_it_rests_wakes_and_warns_where_it_does_not_wake():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(64, 1, 8, 8, generator=generator)
    labels = torch.arange(64) % 2

    def trainer(lr: float) -> tuple[BilevelStep, AffineAugmenter]:
        torch.manual_seed(0)
        model: nn.Module = SmallCnn((1, 8, 8), 2, width=8)
        augmenter = AffineAugmenter()
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        return BilevelStep(model, optimizer, augmenter, total_steps=40, warmup_loss=0.999), augmenter

    learning, augmenter = trainer(0.05)
    assert augmenter.log_spread.max().item() < -15
    found = [learning.step(images, labels, images, labels) for _ in range(40)]
    assert augmenter.log_spread.min().item() > -5
    assert "outer_loss" not in found[0] and "outer_loss" in found[-1]
    standing, augmenter = trainer(0.0)
    for _ in range(19):
        standing.step(images, labels, images, labels)
    with pytest.warns(UserWarning, match="after 20 steps the training loss is over 0.999 of its first value"):
        standing.step(images, labels, images, labels)
    for _ in range(20):
        standing.step(images, labels, images, labels)
    assert augmenter.log_spread.max().item() < -15
