"""BilevelStep in a loop of one's own: against ordinary PyTorch, against autograd through a step, and misused."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

import dabo_ray
from dabo_ray.augment.affine import AffineAugmenter
from dabo_ray.bilevel.bilevel_step import BilevelStep
from dabo_ray.data.sources import load
from dabo_ray.seeds import derive

NEVER = 10**6


def digits() -> tuple[Tensor, Tensor]:
    labelled = load("digits", Path()).labelled
    return labelled.images, labelled.labels


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, 2), nn.ReLU(), nn.Flatten(),
        nn.Linear(32, 10),
    ).to(dtype)  # fmt: skip


def augmenter() -> AffineAugmenter:
    torch.manual_seed(1)
    return AffineAugmenter(hidden=8)


def two_groups(model: nn.Module, lr: float = 0.1) -> torch.optim.SGD:
    """As many do: no decay of biases and of normalisation."""
    decayed = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    return torch.optim.SGD(
        [{"params": others, "weight_decay": 0.0}, {"params": decayed, "nesterov": True}],
        lr=lr, momentum=0.9, weight_decay=1e-2,
    )  # fmt: skip


def noise_of(made: AffineAugmenter, number: int, size: int) -> Tensor:
    (drawn,) = made.draw(size, torch.Generator().manual_seed(derive(0, "augment", number)))
    return drawn


def test_the_classifier_is_trained_as_by_torch_and_is_in_the_model():
    images, labels = digits()
    model, made = network(), augmenter()
    ordinary = copy.deepcopy(model)
    optimizers = [two_groups(each) for each in (model, ordinary)]
    schedulers = [torch.optim.lr_scheduler.OneCycleLR(each, 0.2, total_steps=12) for each in optimizers]
    trainer = BilevelStep(model, optimizers[0], made, inner_steps=NEVER, warmup_loss=None)
    with warnings.catch_warnings(action="error"):
        for number in range(10):
            rows = slice(16 * number, 16 * (number + 1))
            found = trainer.step(images[rows], labels[rows])
            augmented = made(images[rows].float() / 255, noise_of(made, number, 16)).detach()
            loss = cross_entropy(ordinary(augmented), labels[rows])
            optimizers[1].zero_grad()
            loss.backward()
            optimizers[1].step()
            assert float(found["train_loss"]) == pytest.approx(loss.item(), rel=1e-5)
            for scheduler in schedulers:
                scheduler.step()
    for (name, ours), theirs in zip(model.state_dict().items(), ordinary.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6, msg=name)
    buffers = [[s["momentum_buffer"] for s in each.state_dict()["state"].values()] for each in optimizers]
    torch.testing.assert_close(*buffers, rtol=1e-4, atol=1e-6)
    assert model[1].num_batches_tracked == 10
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_augmenter_descends_the_outer_loss_through_the_step(dtype: torch.dtype):
    """Against autograd through the step, written out; from a state with momentum in it."""
    levels, labels = digits()
    images = levels if dtype == torch.uint8 else levels / 255
    model, made = network(torch.float64), augmenter().double()
    optimizer = two_groups(model)
    of_augmenter = torch.optim.SGD(made.parameters(), 1.0)
    trainer = BilevelStep(
        model,
        optimizer,
        made,
        inner_steps=2,
        warmup_loss=None,
        antithetic=False,
        differentiate="update",
        augmenter_optimizer=of_augmenter,
    )
    trainer.step(images[:16], labels[:16])
    before = [weight.detach().clone() for weight in made.parameters()]
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    rules = {
        weight: (group, optimizer.state[weight]["momentum_buffer"].clone())
        for group in optimizer.param_groups
        for weight in group["params"]
    }
    rule_of = {name: rules[weight] for name, weight in model.named_parameters()}
    found = trainer.step(images[16:32], labels[16:32], images[100:140], labels[100:140])

    theta = [weight.clone().requires_grad_() for weight in before]
    names = [name for name, _ in made.named_parameters()]
    inputs = ((levels[16:32] / 255).double(), noise_of(made, 1, 16).double())
    augmented = functional_call(made, dict(zip(names, theta, strict=True)), inputs)
    weights = {name: state[name].requires_grad_() for name in rule_of}
    inner = cross_entropy(functional_call(copy.deepcopy(model), state | weights, (augmented,)), labels[16:32])
    grads = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
    updated = {}
    for (name, weight), grad in zip(weights.items(), grads, strict=True):
        group, momentum = rule_of[name]
        d = grad + group["weight_decay"] * weight
        moved = 0.9 * momentum + d
        updated[name] = weight - 0.1 * (d + 0.9 * moved if group["nesterov"] else moved)
    outer = cross_entropy(
        functional_call(copy.deepcopy(model), state | updated, ((levels[100:140] / 255).double(),)), labels[100:140]
    )
    expected = torch.autograd.grad(outer, theta)
    assert float(found["outer_loss"]) == pytest.approx(outer.item(), rel=1e-6)
    for old, new, grad in zip(before, made.parameters(), expected, strict=True):
        torch.testing.assert_close(old - new, grad, rtol=1e-5, atol=1e-9)
    assert float(found["hypergradient_norm"]) > 1e-5


def run(trainer: BilevelStep, numbers: range) -> None:
    images, labels = digits()
    for number in numbers:
        rows = slice(16 * number, 16 * (number + 1))
        trainer.step(images[rows], labels[rows], images[-32:], labels[-32:])


def made_anew(**options: Any) -> tuple[BilevelStep, torch.optim.SGD]:
    model = nn.Sequential(network(), nn.Dropout(0.2))
    optimizer = two_groups(model)
    return BilevelStep(model, optimizer, augmenter(), **({"warmup_loss": None} | options)), optimizer


@pytest.mark.parametrize("options", [{}, {"inner_steps": 3, "total_steps": 12, "mixed_batch_fraction": 0.5}])
def test_goes_on_from_its_state(options: dict[str, Any]):
    whole, _ = made_anew(**options)
    run(whole, range(12))
    begun, optimizer = made_anew(**options)
    run(begun, range(7))
    states = copy.deepcopy([begun.model.state_dict(), optimizer.state_dict(), begun.state_dict()])
    resumed, optimizer = made_anew(**options)
    resumed.model.load_state_dict(states[0])
    optimizer.load_state_dict(states[1])
    resumed.load_state_dict(states[2])
    run(resumed, range(7, 12))
    for ours, theirs in ((resumed.model, whole.model), (resumed.augmenter, whole.augmenter)):
        pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_a_window_of_steps_is_flowed_through_as_the_weights_were():
    """K = 2 differs from K = 1, and what the user does to the weights between steps does not reach into the window."""
    trainer, _ = made_anew(truncation=2)
    run(trainer, range(3))
    kept = [weight.detach().clone() for weight in trainer._learner.window[-1].weights]
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.mul_(0.5)
    assert all(torch.equal(a, b) for a, b in zip(trainer._learner.window[-1].weights, kept, strict=True))
    short, _ = made_anew(truncation=1)
    run(short, range(3))
    one, two = (torch.nn.utils.parameters_to_vector(each.augmenter.parameters()) for each in (short, trainer))
    assert not torch.equal(one, two)


@pytest.mark.parametrize(
    ("options", "first"),
    [({"total_steps": 20}, 2), ({"total_steps": 20, "warmup_steps": 3}, 3), ({"warmup_steps": 1}, 1), ({}, 0)],
)
def test_the_augmenter_stays_as_it_is_in_the_warm_up(options: dict[str, Any], first: int):
    """A tenth of the steps where they are known; it needs no outer images until then."""
    trainer, _ = made_anew(**options)
    images, labels = digits()
    for number in range(first):
        assert set(trainer.step(images[:16], labels[:16])) == {"train_loss"}, number
    assert "outer_loss" in trainer.step(images[:16], labels[:16], images[-32:], labels[-32:])


def test_parameters_that_the_optimizer_does_not_train_stay():
    model = network()
    head = torch.optim.SGD(model[6].parameters(), 0.1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run(BilevelStep(model, head, augmenter(), warmup_loss=None), range(2))
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {"6.weight", "6.bias"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda model: torch.optim.Adam(model.parameters()), r"optimizer Adam; give torch\.optim\.SGD"),
        (lambda model: torch.optim.SGD(model.parameters(), 0.1, 0.9, dampening=0.1), "has dampening"),
        (lambda model: torch.optim.SGD(model.parameters(), 0.1, maximize=True), "has maximize"),
        (lambda model: torch.optim.SGD(network().parameters(), 0.1), r"make it from model\.parameters"),
    ],
)
def test_optimizers_that_cannot_be_differentiated_are_refused(make, message: str):
    model = network()
    with pytest.raises(ValueError, match=message):
        BilevelStep(model, make(model), augmenter())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner_steps": 0}, "inner_steps must be at least 1, got 0"),
        ({"truncation": 0}, "truncation must be at least 1"),
        ({"total_steps": 0}, "total_steps must be at least 1"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0 and under total_steps, got -1"),
        ({"total_steps": 4, "warmup_steps": 4}, "under total_steps, got 4"),
        ({"warmup_loss": 0.0}, r"warmup_loss must be in \(0, 1\], got 0\.0"),
        ({"mixed_batch_fraction": 0.0}, r"in \(0, 1\], got 0\.0"),
        ({"differentiate": "length"}, "got 'length'"),
        ({"clip_norm": 0.0}, "clip_norm must be over 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        made_anew(**options)


@pytest.mark.parametrize(
    ("images", "labels", "outer", "message"),
    [
        (torch.rand(4, 8, 8), torch.arange(4), True, r"shape \(4, 8, 8\)"),
        (torch.rand(4, 2, 8, 8), torch.arange(4), True, "1 or 3 channels"),
        (torch.rand(4, 1, 8, 8), torch.arange(3), True, "4 images and 3 labels"),
        (torch.ones(4, 1, 8, 8, dtype=torch.int64), torch.arange(4), True, "images of torch.int64"),
        (3 * torch.rand(4, 1, 8, 8) - 1, torch.arange(4), True, "normalise them in the model"),
        (torch.rand(4, 1, 8, 8), torch.arange(4), False, "give outer images and labels"),
    ],
)
def test_images_that_cannot_be_used_are_refused(images: Tensor, labels: Tensor, outer: bool, message: str):
    trainer, _ = made_anew()
    with pytest.raises(ValueError, match=message):
        trainer.step(images, labels, *((torch.rand(4, 1, 8, 8), torch.arange(4)) if outer else ()))
    assert trainer.steps == 0


def test_what_diverges_is_told_and_leaves_the_weights():
    trainer, optimizer = made_anew()
    run(trainer, range(1))
    before = torch.nn.utils.parameters_to_vector(trainer.model.parameters()).detach().clone()
    optimizer.param_groups[1]["lr"] = 1e30
    with pytest.raises(dabo_ray.Diverged, match="lower the learning rate"):
        run(trainer, range(1, 5))
    assert torch.nn.utils.parameters_to_vector(trainer.model.parameters()).isfinite().all()
    assert before.isfinite().all()


def test_public_names_are_there_and_are_documented():
    assert set(dabo_ray.__all__) <= set(dir(dabo_ray))
    for name in dabo_ray.__all__:
        assert getattr(dabo_ray, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        dabo_ray.Nothing  # noqa: B018


def masks_and_images() -> tuple[Tensor, Tensor]:
    """Digits, and as their masks whether there is ink in a pixel; the first column is not known."""
    images, _ = digits()
    masks = (images[:, 0] > 100).long()
    masks[:, :, 0] = 255
    return images, masks


def pixel_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 2, 1)).double()


def test_masks_are_moved_with_their_images():
    """The augmenter descends the outer loss through images and masks: against autograd through the step."""
    levels, masks = masks_and_images()
    model, made = pixel_network(), augmenter().double()
    of_augmenter = torch.optim.SGD(made.parameters(), 1.0)
    trainer = BilevelStep(
        model,
        torch.optim.SGD(model.parameters(), 0.5),
        made,
        mask_classes=2,
        warmup_loss=None,
        antithetic=False,
        differentiate="update",
        augmenter_optimizer=of_augmenter,
    )
    before = [weight.detach().clone() for weight in made.parameters()]
    first = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    found = trainer.step(levels[:16], masks[:16], levels[50:80], masks[50:80])

    theta = [weight.clone().requires_grad_() for weight in before]
    weights = {name: weight.clone().requires_grad_() for name, weight in first.items()}
    known = (masks != 255).double()
    planes = torch.stack(((masks == 0).double() * known, (masks == 1).double()), 1)
    both = torch.cat(((levels[:16] / 255).double(), planes[:16]), 1)
    # A geometric augmenter moves any planes.
    names = [name for name, _ in made.named_parameters()]
    moved = functional_call(made, dict(zip(names, theta, strict=True)), (both, noise_of(made, 0, 16).double()))
    inner = cross_entropy(functional_call(copy.deepcopy(model), weights, (moved[:, :1],)), moved[:, 1:])
    grads = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
    updated = {name: w - 0.5 * g for (name, w), g in zip(weights.items(), grads, strict=True)}
    scores = functional_call(copy.deepcopy(model), updated, ((levels[50:80] / 255).double(),))
    outer = cross_entropy(scores, planes[50:80])
    wanted = torch.autograd.grad(outer, theta)
    assert float(found["train_loss"]) == pytest.approx(inner.item(), rel=1e-6)
    assert float(found["outer_loss"]) == pytest.approx(outer.item(), rel=1e-6)
    for old, new, grad in zip(before, made.parameters(), wanted, strict=True):
        torch.testing.assert_close(old - new.detach(), grad, rtol=1e-6, atol=1e-9)


def test_labels_that_are_masks_or_are_not():
    images, masks = masks_and_images()
    _, labels = digits()
    model = pixel_network().float()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"a class for each pixel; give mask_classes"):
        BilevelStep(model, optimizer, augmenter()).step(images[:4], masks[:4], images[4:8], masks[4:8])
    trainer = BilevelStep(model, optimizer, augmenter(), mask_classes=2)
    with pytest.raises(ValueError, match=r"labels of shape \(4,\).*a whole number under 2, or 255, for each pixel"):
        trainer.step(images[:4], labels[:4], images[4:8], labels[4:8])
    with pytest.raises(ValueError, match="mask_classes must be at least 2 and under 255, got 1"):
        BilevelStep(model, optimizer, augmenter(), mask_classes=1)
