"""AutoAugment's policies, with torchvision as the oracle."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import AutoAugmentPolicy

from dabo_ray.augment.autoaugment import POLICIES, AutoAugment
from dabo_ray.augment.autoaugment_operations import OPERATIONS


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reference(policy: str) -> v2.AutoAugment:
    return v2.AutoAugment(AutoAugmentPolicy[policy.upper()])


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_are_torchvisions(policy: str) -> None:
    ours, theirs = AutoAugment(policy), reference(policy)._policies
    for number, sub in enumerate(theirs):
        for place, (name, probability, level) in enumerate(sub):
            assert OPERATIONS[ours.operations[number, place]] == name
            assert ours.probabilities[number, place].item() == pytest.approx(probability)
            assert ours.levels[number, place].item() == (level or 0)
    assert len(ours.operations) == len(theirs) == 25


@pytest.mark.parametrize("policy", POLICIES)
def test_equals_torchvision_on_the_same_draws(noise, policy: str) -> None:
    augment, theirs = AutoAugment(policy), reference(policy)
    images = noise(250, 3, 28, 20)
    chosen, used, negative = params = augment.draw(250, seeded())
    output = augment.apply(images / 255, params) * 255
    num_different = 0
    for index, image in enumerate(images):
        for place, (name, _, level) in enumerate(theirs._policies[chosen[index]]):
            if not used[index, place]:
                continue
            values, signed = theirs._AUGMENTATION_SPACE[name]
            magnitudes = values(10, 28, 20)
            strength = 0.0 if magnitudes is None else float(magnitudes[level])
            strength = -strength if signed and negative[index, place] else strength
            image = theirs._apply_image_or_video_transform(image, name, strength, theirs.interpolation, {})
        different = int(((output[index] - image).abs() > 1e-3).sum())
        names = {OPERATIONS[number] for number in augment.operations[chosen[index]][used[index]]}
        assert different == 0 or names & {"ShearX", "ShearY"}
        num_different += different
    # Half way between two pixels the last bit decides which of them a shear takes.
    assert num_different < 1e-3 * images.numel()


@pytest.mark.parametrize("policy", POLICIES)
def test_draws(occur_as, policy: str) -> None:
    augment = AutoAugment(policy)
    chosen, used, negative = augment.draw(50_000, seeded(1))
    assert occur_as(chosen, torch.ones(25))
    assert occur_as(negative.long(), torch.ones(2))
    # Sub-policy and both decisions at once: 100 cells with the shares of independent draws.
    first, second = augment.probabilities.double().unbind(1)
    shares = torch.stack(((1 - first) * (1 - second), (1 - first) * second, first * (1 - second), first * second), 1)
    shares = torch.where(shares < 1e-6, 0.0, shares)
    assert occur_as(4 * chosen + 2 * used[:, 0] + used[:, 1].long(), shares.flatten())
