"""Hypergradients through images and masks, the segmentation loss and scores, each against something else."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from sklearn import metrics
from torch import Tensor, nn
from torch.func import functional_call

from dabo_ray.augment.affine import AffineAugmenter
from dabo_ray.augment.affine_color import AffineColorAugmenter
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.functional import warp
from dabo_ray.augment.masks import IGNORED
from dabo_ray.augment.with_masks import augmented_by
from dabo_ray.bilevel.hypergradient import Augment, InnerProblem, InnerStep, adjoint_hypergradient
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.segmentation import SegmentationLoss, segmentation_scores
from dabo_ray.bilevel.sgd import Sgd
from dabo_ray.bilevel.unrolled import unrolled_hypergradient
from dabo_ray.data.images import Images
from dabo_ray.models.unet import UNet
from dabo_ray.workers import Workers

CLASSES, SIDE = 3, 8


def masks_of(num: int, generator: torch.Generator) -> Tensor:
    """Blocks of classes, and some pixels that are ignored."""
    coarse = torch.randint(0, CLASSES, (num, SIDE // 2, SIDE // 2), generator=generator, dtype=torch.uint8)
    masks = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)
    return masks.masked_fill(torch.rand(masks.shape, generator=generator) < 0.1, IGNORED)


def written_out(scores: Tensor, shares: Tensor, dice: float) -> Tensor:
    """The loss image by image and class by class, as its definition reads."""
    total = scores.new_zeros(())
    for image, of_image in zip(scores.softmax(1), shares, strict=True):
        entropy = -(of_image * image.log()).sum() / of_image.sum()
        parts = []
        for p, t in zip(image, of_image, strict=True):
            parts.append((2 * (t * p).sum() + 1) / (t.sum() + (of_image.sum(0) * p).sum() + 1))
        total = total + (1 - dice) * entropy + dice * (1 - sum(parts) / CLASSES)
    return total


def moved(augmenter: Augmenter, theta: list[Tensor], images: Tensor, masks: Tensor, draws: Tensor):
    """Images by the augmenter itself, and shares by the map that it has decided on, a class at a time."""
    names = [name for name, _ in augmenter.named_parameters()]
    values = dict(zip(names, theta, strict=True))
    augmented = functional_call(augmenter, values, (images, draws))

    class Maps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = augmenter

        def forward(self, draws: Tensor) -> Tensor:
            return self.inner.maps(self.inner.decide(draws))

    maps = functional_call(Maps(), {f"inner.{name}": value for name, value in values.items()}, (draws,))
    shares = [warp((masks == number).double().unsqueeze(1), maps) for number in range(CLASSES)]
    return augmented, torch.cat(shares, 1)


def both_by(augmenter: Augmenter) -> Augment:
    return lambda theta, images, masks, params: augmented_by(augmenter, theta, images, masks, params, CLASSES)


@pytest.mark.parametrize("kind", [AffineAugmenter, AffineColorAugmenter])
@pytest.mark.parametrize("dice", [0.0, 0.4])
@pytest.mark.parametrize("num_steps", [1, 3])
def test_hypergradients_flow_through_images_and_masks(num_steps: int, dice: float, kind: type[Augmenter]) -> None:
    generator = torch.Generator().manual_seed(num_steps)
    torch.manual_seed(0)
    augmenter = kind(hidden=4).double()
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, CLASSES, 1)).double()
    images = torch.rand(num_steps + 1, 5, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    masks = torch.stack([masks_of(5, generator) for _ in range(num_steps + 1)])
    draws = torch.stack([augmenter.draw(5, generator)[0].double() for _ in range(num_steps)])
    criterion = SegmentationLoss(CLASSES, dice)
    objective = Objective(network, criterion)
    sgd = Sgd.of(lr=0.3, momentum=0.9)

    def outer(weights: list[Tensor]) -> Tensor:
        return objective.loss(weights, images[-1], masks[-1], 5, None)

    weights = [weight.detach().clone().requires_grad_() for weight in network.parameters()]
    velocity = [torch.zeros_like(weight) for weight in weights]
    first = [weight.detach().clone() for weight in weights]
    steps = []
    for number in range(num_steps):
        theta = [weight.detach().clone().requires_grad_() for weight in augmenter.parameters()]
        step = InnerStep(weights, theta, images[number], masks[number], (draws[number],), 5, sgd)
        seen = augmented_by(augmenter, theta, images[number], masks[number], (draws[number],), CLASSES)
        grads = torch.autograd.grad(objective.loss(weights, *seen, 5, None), weights)
        steps.append(step)
        weights = [weight.detach().clone().requires_grad_() for weight in weights]
        sgd.step(weights, velocity, grads)
    outer_grad = list(torch.autograd.grad(outer(weights), weights))
    problem = InnerProblem(both_by(augmenter), objective.loss)
    ours = adjoint_hypergradient(problem, steps, outer_grad, Workers())

    theta = [weight.detach().clone().requires_grad_() for weight in augmenter.parameters()]
    w, m = [weight.clone().requires_grad_() for weight in first], [torch.zeros_like(weight) for weight in first]
    names = [name for name, _ in network.named_parameters()]
    for number in range(num_steps):
        augmented, shares = moved(augmenter, theta, images[number], masks[number], draws[number])
        scores = functional_call(network, dict(zip(names, w, strict=True)), (augmented,))
        grads = torch.autograd.grad(written_out(scores, shares, dice) / 5, w, create_graph=True)
        m = [0.9 * old + grad for old, grad in zip(m, grads, strict=True)]
        w = [old - 0.3 * new for old, new in zip(w, m, strict=True)]
    expected = torch.autograd.grad(outer(w), theta)
    unrolled = unrolled_hypergradient(problem, steps, outer_grad, Workers())
    scale = max(float(part.abs().max()) for part in expected)
    assert scale > 1e-6
    for a, b, c in zip(ours, unrolled, expected, strict=True):
        assert float((a - c).abs().max()) < 1e-9 * scale
        assert float((b - c).abs().max()) < 1e-9 * scale


def test_the_way_through_the_masks_matters() -> None:
    """Without it the hypergradient is another one, so the test above says something about it."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    augmenter = AffineAugmenter(hidden=4).double()
    network = nn.Conv2d(3, CLASSES, 3, padding=1).double()
    objective = Objective(network, SegmentationLoss(CLASSES))
    images, masks = torch.rand(5, 3, SIDE, SIDE, generator=generator).double(), masks_of(5, generator)
    weights = [weight.detach().clone().requires_grad_() for weight in network.parameters()]
    theta = [weight.detach().clone().requires_grad_() for weight in augmenter.parameters()]
    (draws,) = augmenter.draw(5, generator)
    step = InnerStep(weights, theta, images, masks, (draws.double(),), 5, Sgd.of(lr=0.3))
    outer_grad = list(torch.autograd.grad(objective.loss(weights, images, masks, 5, None), weights))

    def blind(*given: Any) -> tuple[Tensor, Tensor]:
        augmented, shares = both_by(augmenter)(*given)
        return augmented, shares.detach()

    seeing = InnerProblem(both_by(augmenter), objective.loss)
    whole, partly = (
        adjoint_hypergradient(problem, [step], outer_grad, Workers())
        for problem in (seeing, InnerProblem(blind, objective.loss))
    )
    assert any(float((a - b).abs().max()) > 0.1 * float(a.abs().max()) for a, b in zip(whole, partly, strict=True))


@pytest.mark.parametrize("dice", [0.0, 0.3, 1.0])
def test_the_loss_is_that_of_its_definition(dice: float) -> None:
    generator = torch.Generator().manual_seed(0)
    scores, masks = torch.randn(4, CLASSES, SIDE, SIDE, generator=generator).double(), masks_of(4, generator)
    shares = torch.stack([(masks == number).double() for number in range(CLASSES)], 1)
    criterion = SegmentationLoss(CLASSES, dice)
    assert float(criterion(scores, masks)) == pytest.approx(float(written_out(scores, shares, dice)), rel=1e-12)
    torch_own = sum(
        nn.functional.cross_entropy(each[None], mask[None].long(), ignore_index=IGNORED)
        for each, mask in zip(scores, masks, strict=True)
    )
    if dice == 0:
        assert float(criterion(scores, masks)) == pytest.approx(float(torch_own), rel=1e-12)
    # What workers have is added up.
    halves = criterion(scores[:1], masks[:1]) + criterion(scores[1:], masks[1:])
    assert float(halves) == pytest.approx(float(criterion(scores, masks)), rel=1e-12)


def test_an_image_whose_pixels_are_all_ignored_costs_nothing() -> None:
    scores = torch.randn(1, CLASSES, 4, 4, requires_grad=True)
    loss = SegmentationLoss(CLASSES)(scores, torch.full((1, 4, 4), IGNORED, dtype=torch.uint8))
    (grad,) = torch.autograd.grad(loss, scores)
    assert float(loss.detach()) == 0 and not grad.any()


class Told(nn.Module):
    """Says the class that is the level of a pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.one_hot((images[:, 0] * 255).round().long(), CLASSES).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scikit_learn(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = masks_of(30, generator)
    # The last class is there at times only, and never said at others.
    if seed % 2:
        masks[masks == CLASSES - 1] = 0
    said = torch.where(torch.rand(masks.shape, generator=generator) < 0.7, masks, 0).masked_fill(masks == IGNORED, 1)
    images = Images(said.unsqueeze(1), torch.zeros(30, dtype=torch.int64), masks=masks)
    found = segmentation_scores(Objective(Told()), [torch.zeros(1)], images, Workers())
    known = masks != IGNORED
    truth, answer = masks[known].numpy(), said[known].numpy()
    assert found["mean_iou"] == pytest.approx(100 * metrics.jaccard_score(truth, answer, average="macro"), rel=1e-12)
    assert found["mean_dice"] == pytest.approx(100 * metrics.f1_score(truth, answer, average="macro"), rel=1e-12)
    each = metrics.jaccard_score(truth, answer, average=None)
    assert [found[f"iou_{number}"] for number in range(len(each))] == pytest.approx(list(100 * each), rel=1e-12)


def test_a_unet_takes_rectangles_and_small_images() -> None:
    network = UNet(1, CLASSES, width=8)
    for height, width in itertools.product((8, 9, 23, 32), repeat=2):
        assert network(torch.rand(2, 1, height, width)).shape == (2, CLASSES, height, width)
