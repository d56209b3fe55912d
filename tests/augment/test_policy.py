"""The learned policy: each operation as torchvision has it, probabilities, and what it tells of itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from dabo_ray.augment.description import describe
from dabo_ray.augment.policy import INITIAL_ODD_PROBABILITY, INITIAL_PROBABILITY, PolicyAugmenter

MANY = 20_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 40, channels: int = 3) -> Tensor:
    return torch.randint(0, 256, (count, channels, 9, 9), generator=seeded(1)) / 255


def sure(*operations: str, spread: float = 0.3, logit: float = 50.0) -> PolicyAugmenter:
    """These operations almost always, or with the logit given, and all with one spread."""
    made = PolicyAugmenter(operations=operations)
    with torch.no_grad():
        made.logit.fill_(logit)
        if made.used:
            made.log_spread.fill_(math.log(spread))
    return made


def as_levels(images: Tensor) -> Tensor:
    return images.mul(255).round().to(torch.uint8)


def solarized(image: Tensor, threshold: float) -> Tensor:
    """No threshold over white can be given to torchvision; nothing is inverted there."""
    return image if threshold > 1 else tv.solarize(image, threshold)


REFERENCES = {
    "flip": lambda image, _: tv.horizontal_flip(image),
    "autocontrast": lambda image, _: tv.autocontrast(image),
    "equalize": lambda image, _: tv.equalize(as_levels(image)) / 255,
    "sharpness": lambda image, value: tv.adjust_sharpness(image, math.exp(value)),
    "brightness": lambda image, value: tv.adjust_brightness(image, math.exp(value)),
    "contrast": lambda image, value: tv.adjust_contrast(image, math.exp(value)),
    "saturation": lambda image, value: tv.adjust_saturation(image, math.exp(value)),
    "hue": lambda image, value: tv.adjust_hue(image, value / (2 * math.pi)),
    "posterize": lambda image, value: tv.posterize(as_levels(image), 8 - round(6 * abs(value) / math.pi)) / 255,
    "solarize": lambda image, value: solarized(image, (1 - abs(value) / math.pi) * 256 / 255),
    "rotation": lambda image, value: tv.rotate(image, math.degrees(value), tv.InterpolationMode.BILINEAR),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_each_operation_equals_torchvision(name) -> None:
    made = sure(name)
    images = pictures()
    (draws,) = made.draw(40, seeded())
    coordinates, _, gates = made.decisions(draws)
    output = made(images, draws)
    assert gates.sum() > 30
    values = coordinates[:, made.used[0]] if made.used else torch.zeros(40)
    for image, out, value, opened in zip(images, output, values.tolist(), gates[:, 0].tolist(), strict=True):
        expected = REFERENCES[name](image, value) if opened else image
        torch.testing.assert_close(out, expected, atol=1e-4, rtol=0)


def test_operations_are_done_as_often_as_their_probabilities_say() -> None:
    made = PolicyAugmenter(operations=["flip", "rotation", "equalize"])
    (draws,) = made.draw(MANY, seeded())
    _, _, gates = made.decisions(draws)
    expected = [INITIAL_ODD_PROBABILITY, INITIAL_PROBABILITY, INITIAL_ODD_PROBABILITY]
    assert gates.mean(0).tolist() == pytest.approx(expected, abs=0.01)
    assert torch.corrcoef(gates.T).triu(1).abs().max() < 0.03
    spread = made.spread(draws)
    found = [spread[f"probability_{name}"] for name in ("flip", "rotation", "equalize")]
    assert found == pytest.approx(expected, abs=1e-3)


def test_learning_to_flip_from_its_gradient() -> None:
    """Where mirrored images are wanted, the probability of a flip grows to its bound; where they are not, it falls."""
    images = pictures(64)
    for target, low, high in ((images.flip(-1), 0.9, 1.0), (images, 0.0, 0.02)):
        made = sure("flip", logit=-1.0)
        optimizer = torch.optim.Adam([made.logit], 0.3)
        generator = seeded(7)
        for _ in range(60):
            optimizer.zero_grad()
            (draws,) = made.draw(64, generator)
            (made(images, draws) - target).square().mean().backward()
            optimizer.step()
        (draws,) = made.draw(64, generator)
        assert low <= made.spread(draws)["probability_flip"] <= high


@pytest.mark.parametrize("name", ["posterize", "solarize", "erase"])
def test_one_sided_strengths_grow_where_that_is_wanted(name) -> None:
    """The target is the image as the operation leaves it at a high strength."""
    images = torch.rand(64, 1, 16, 16, generator=seeded(1))
    target_of = sure(name, spread=math.pi)
    made = sure(name, spread=0.3)
    (draws,) = made.draw(64, seeded(2))
    target = target_of(images, draws).detach()
    loss = (made(images, draws) - target).square().mean()
    (gradient,) = torch.autograd.grad(loss, made.log_spread)
    assert gradient[0] < 0
    back = (target_of(images, draws) - made(images, draws).detach()).square().mean()
    (gradient,) = torch.autograd.grad(back, target_of.log_spread)
    assert gradient[0] > 0


def test_spreads_count_the_images_that_are_left_alone() -> None:
    """A standard deviation s that half of the images have is s / sqrt(2) over all."""
    made = sure("rotation", "brightness", "erase", spread=0.1, logit=0.0)
    (draws,) = made.draw(MANY, seeded())
    spread = made.spread(draws)
    assert spread["rotation_spread_deg"] == pytest.approx(math.degrees(0.1) / math.sqrt(2), rel=0.03)
    assert spread["brightness_spread_percent"] == pytest.approx(10 / math.sqrt(2), rel=0.03)
    assert set(spread) >= {"erase_spread_percent", "probability_erase"}
    assert not {"hue_spread_deg", "probability_flip"} & set(spread)


def test_probabilities_keep_away_from_their_bounds() -> None:
    for logit in (-1e6, 1e6):
        made = sure("flip", logit=logit)
        (draws,) = made.draw(1000, seeded())
        assert 0.002 < made.spread(draws)["probability_flip"] < 0.998


def test_the_network_ties_operations_together() -> None:
    """Logits may depend on what is even in the noise: here one operation is likely just where the other is not."""
    made = PolicyAugmenter(noise=1, hidden=2, operations=["flip", "equalize"])
    with torch.no_grad():
        for weight in made.parameters():
            weight.zero_()
        first, last = made.network[0], made.network[2]
        assert isinstance(first, torch.nn.Linear) and isinstance(last, torch.nn.Linear)
        first.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        last.weight.copy_(torch.tensor([[40.0, 40.0], [-40.0, -40.0]]))
        last.bias.copy_(torch.tensor([-10.0, 10.0]))
    (draws,) = made.draw(MANY, seeded())
    _, _, gates = made.decisions(draws)
    assert torch.corrcoef(gates.T)[0, 1] < -0.8
    torch.testing.assert_close(made.decisions(draws)[1], made.decisions(made.antithetic((draws,))[0])[1])


def test_class_probabilities() -> None:
    made = PolicyAugmenter(operations=["flip"], conditioning="class", num_classes=2)
    with torch.no_grad():
        made.class_logit[1] = 4.0
    (draws,) = made.draw(MANY, seeded())
    labels = torch.arange(MANY) % 2
    _, _, gates = made.decisions(draws, *made.context(torch.zeros(MANY, 1, 1, 1), labels))
    assert gates[labels == 0].mean() < 0.12
    assert gates[labels == 1].mean() > 0.7


def test_it_tells_magnitudes_where_done_and_probabilities() -> None:
    text = describe(sure("flip", "rotation", "posterize", spread=0.1, logit=0.0))
    lines = {line.split()[0]: line for line in text.splitlines()[1:]}
    assert lines.keys() == {"flip", "rotation", "posterize"}
    assert "probability 0.50" in lines["flip"]
    assert "spread 5.7 degrees" in lines["rotation"] and "probability 0.50" in lines["rotation"]
    assert "bits" in lines["posterize"]


def test_rows_of_grey_images() -> None:
    made = sure(*PolicyAugmenter.OPERATIONS, logit=0.0)
    images = pictures(channels=1)
    (draws,) = made.draw(40, seeded())
    output = made(images, draws)
    assert output.shape == images.shape
    assert output.min() >= 0 and output.max() <= 1
