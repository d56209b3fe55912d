"""One contract for every augmenter, in every form that its options give it."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.registry import AUGMENTERS, name_of
from dabo_ray.config.schema import AugmenterConfig
from dabo_ray.config.schema.training import OPERATIONS

OPTIONS: dict[str, Any] = {
    "plain": {},
    "free": {"centred": False},
    "dropout": {"dropout": 0.4, "depth": 2},
    "class": {"conditioning": "class", "num_classes": 3},
    "image": {"conditioning": "image"},
}
CASES = list(product(AUGMENTERS, OPTIONS))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(name: str, form: str = "plain", scale: float = 0.3, **more) -> Augmenter:
    """With weights as training might leave them."""
    torch.manual_seed(0)
    augmenter = AUGMENTERS[name](**{"hidden": 8, **OPTIONS[form], **more})
    with torch.no_grad():
        for weight in augmenter.parameters():
            weight.add_(scale * torch.randn(weight.shape, generator=seeded(3)))
    return augmenter


def pictures(count: int = 6, channels: int = 3, side: int = 9) -> Tensor:
    return torch.rand(count, channels, side, side, generator=seeded(1))


def params_for(augmenter: Augmenter, images: Tensor, seed: int = 2) -> tuple[Tensor, ...]:
    labels = torch.arange(len(images)) % 3
    return *augmenter.draw(len(images), seeded(seed)), *augmenter.context(images, labels)


@pytest.mark.parametrize(("name", "form"), CASES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_images_stay_images(name, form, channels, dtype) -> None:
    augmenter, images = made(name, form), pictures(channels=channels).to(dtype)
    before = images.clone()
    params = params_for(augmenter, images)
    once, again = augmenter(images, *params), augmenter(images, *params)
    assert (once.shape, once.dtype) == (images.shape, dtype)
    assert once.detach().min() >= 0 and once.detach().max() <= 1
    assert torch.equal(once, again)
    assert torch.equal(images, before)
    assert not torch.equal(once, augmenter(images, *params_for(augmenter, images, seed=5)))


@pytest.mark.parametrize("name", AUGMENTERS)
def test_autocast_does_not_blur_what_is_done(name) -> None:
    augmenter, images = made(name), pictures()
    params = params_for(augmenter, images)
    expected = augmenter(images, *params)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augmenter(images, *params), expected)


@pytest.mark.parametrize(("name", "form"), CASES)
def test_each_image_depends_on_its_own_row(name, form) -> None:
    augmenter, images = made(name, form), pictures()
    params = params_for(augmenter, images)
    whole = augmenter(images, *params)
    for row in range(len(images)):
        alone = augmenter(images[row : row + 1], *(part[row : row + 1] for part in params))
        torch.testing.assert_close(whole[row : row + 1], alone)
    others = torch.cat((images[:1], pictures(side=9).flip(0)[1:]))
    redrawn = tuple(torch.cat((part[:1], part[1:].flip(0))) for part in params)
    torch.testing.assert_close(augmenter(others, *redrawn)[0], whole[0])


@pytest.mark.parametrize(("name", "form"), CASES)
def test_gradients_reach_every_weight(name, form) -> None:
    augmenter, images = made(name, form), pictures(64)
    output = augmenter(images, *params_for(augmenter, images))
    target = torch.rand(output.shape, generator=seeded(7))
    grads = torch.autograd.grad((output - target).square().sum(), list(augmenter.parameters()))
    for (weight_name, _), grad in zip(augmenter.named_parameters(), grads, strict=True):
        assert grad.isfinite().all(), weight_name
        # What an odd network adds to both halves cancels, so the last bias of a centred one is idle.
        idle = (
            augmenter.centred
            and not augmenter.even_outputs()
            and weight_name == f"network.{2 * len(augmenter.widths)}.bias"
        )
        assert idle or grad.abs().max() > 0, weight_name


@pytest.mark.parametrize(("name", "form"), [case for case in CASES if case[0] != "policy"])
def test_gradients_equal_finite_differences(name, form) -> None:
    augmenter = made(name, form, scale=0.1, **({} if form == "dropout" else {"hidden": 4})).double()
    # Within these bounds no tone is cut off.
    images = pictures(3, side=4).double() * 0.3 + 0.3
    params = tuple(part.double() for part in params_for(augmenter, images))
    names = [weight_name for weight_name, _ in augmenter.named_parameters()]

    def augmented(pixels: Tensor, *weights: Tensor):
        return torch.func.functional_call(augmenter, dict(zip(names, weights, strict=True)), (pixels, *params))

    weights = [weight.detach().clone().requires_grad_() for weight in augmenter.parameters()]
    assert torch.autograd.gradcheck(augmented, (images.requires_grad_(), *weights), atol=1e-4, fast_mode=True)


@pytest.mark.parametrize("form", [form for form in OPTIONS if form != "free"])
@pytest.mark.parametrize("name", AUGMENTERS)
def test_no_noise_is_no_change(name, form) -> None:
    augmenter, images = made(name, form), pictures()
    draws, *context = params_for(augmenter, images)
    draws.zero_()
    torch.testing.assert_close(augmenter(images, draws, *context), images, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "form"), CASES)
def test_mirrored_draws_negate_the_noise_alone(name, form) -> None:
    augmenter, images = made(name, form), pictures()
    params = params_for(augmenter, images)
    there = augmenter.antithetic(params)
    assert torch.equal(there[0][:, : augmenter.noise], -params[0][:, : augmenter.noise])
    assert all(torch.equal(a, b) for a, b in zip(augmenter.antithetic(there), params, strict=True))
    if augmenter.centred:
        count = len(augmenter.used)
        torch.testing.assert_close(augmenter.raw(*there)[:, :count], -augmenter.raw(*params)[:, :count])


@pytest.mark.parametrize(("name", "form"), CASES)
@pytest.mark.parametrize("extreme", [-200.0, 200.0])
def test_extreme_weights_stay_finite(name, form, extreme) -> None:
    augmenter, images = made(name, form), pictures()
    with torch.no_grad():
        for weight_name, weight in augmenter.named_parameters():
            if not weight_name.startswith("network."):
                weight.fill_(extreme)
            else:
                weight.mul_(100)
    params = params_for(augmenter, images)
    output = augmenter(images, *params)
    assert output.isfinite().all()
    grads = torch.autograd.grad(output.sum(), list(augmenter.parameters()))
    assert all(grad.isfinite().all() for grad in grads)
    assert all(value == value for value in augmenter.spread(*params).values())


@pytest.mark.parametrize(("name", "form"), CASES)
def test_what_is_told_is_finite_and_the_same_every_time(name, form) -> None:
    augmenter, images = made(name, form), pictures(500, side=4)
    params = params_for(augmenter, images)
    spread = augmenter.spread(*params)
    assert spread and spread == augmenter.spread(*params)
    assert all(isinstance(value, float) and abs(value) < 1e4 for value in spread.values())
    samples = augmenter.samples(*params)
    assert all(values.shape == (500,) and values.isfinite().all() for values in samples.values())


@pytest.mark.parametrize("name", AUGMENTERS)
def test_arguments_build_the_same_again(name) -> None:
    first = AUGMENTERS[name](noise=20, hidden=[5, 7], dropout=0.1, conditioning="class", num_classes=4, centred=False)
    again = AUGMENTERS[name](**first.arguments)
    assert again.arguments == first.arguments
    assert [weight.shape for weight in again.parameters()] == [weight.shape for weight in first.parameters()]
    assert name_of(again) == name


@pytest.mark.parametrize(
    ("operation", "name"), [(operation, name) for name, kind in AUGMENTERS.items() for operation in kind.OPERATIONS]
)
def test_an_operation_alone_leaves_the_others_out(name, operation) -> None:
    augmenter = made(name, operations=[operation])
    assert augmenter.operations == (operation,)
    assert len(augmenter.used) == len(augmenter.OPERATIONS[operation])
    full = made(name)
    assert sum(weight.numel() for weight in augmenter.parameters()) < sum(w.numel() for w in full.parameters())
    images = pictures(32)
    assert not torch.equal(augmenter(images, *params_for(augmenter, images)), images)


def test_the_schema_knows_the_operations() -> None:
    kinds = {
        name: {operation: len(places) for operation, places in kind.OPERATIONS.items()}
        for name, kind in AUGMENTERS.items()
    }
    assert kinds == OPERATIONS
    for name in AUGMENTERS:
        described = AugmenterConfig.model_fields["operations"].description or ""
        assert all(operation in described for operation in OPERATIONS[name])


def test_published_affine_network() -> None:
    """6 -> 6 -> 60 -> 6 with dropout 0.2: 42 + 420 + 366 weights."""
    network = AUGMENTERS["affine_matrix"](noise=6, hidden=[6, 60], dropout=0.2, centred=False)
    assert sum(weight.numel() for weight in network.parameters()) == 828
    assert [type(layer).__name__ for layer in network.network] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]


def test_published_affine_color_network() -> None:
    """10 -> 10 -> 100 -> 10 with tanh: 110 + 1100 + 1010 weights."""
    network = AUGMENTERS["affine_color_matrix"](noise=10, hidden=[10, 100], centred=False)
    assert sum(weight.numel() for weight in network.parameters()) == 2220
    assert [type(layer).__name__ for layer in network.network] == ["Linear", "Tanh", "Linear", "Tanh", "Linear"]
