"""AugMix, with torchvision as the oracle."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest
from torchvision.transforms import v2

from dabo_ray.augment.augmix import TONES, AugMix, augmix_space


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (17, 40)])
def test_the_space_is_torchvisions(height: int, width: int) -> None:
    ours, theirs = augmix_space(height, width), v2.AugMix._AUGMENTATION_SPACE
    assert list(ours) == list(theirs)
    assert list(ours)[: -len(TONES)] == list(v2.AugMix._PARTIAL_AUGMENTATION_SPACE)
    for name, (expected, signed) in theirs.items():
        values = expected(10, height, width)
        assert ours[name][1] == signed
        assert torch.equal(ours[name][0], torch.zeros(10) if values is None else values.float())


@pytest.mark.parametrize("settings", [{}, {"severity": 10, "mixture_width": 2, "chain_depth": 2}, {"all_ops": False}])
def test_equals_torchvision_on_the_same_draws(noise, digits, settings: dict) -> None:
    augment, theirs = AugMix(**settings), v2.AugMix()
    space = list(augmix_space(24, 24))
    for images in (noise(60, 3, 24, 24), digits(60, 24, 24)):
        share, weights, depths, entries, bins, negative = params = augment.draw(60, seeded())
        output = augment.apply(images / 255, params) * 255
        for index, image in enumerate(images):
            mixed = float(share[index]) * image.double()
            for chain in range(augment.width):
                changed = image
                for step in range(int(depths[index, chain])):
                    place = (index, chain, step)
                    name = space[entries[place]]
                    values, signed = theirs._AUGMENTATION_SPACE[name]
                    magnitudes = values(10, 24, 24)
                    strength = 0.0 if magnitudes is None else float(magnitudes[bins[place]])
                    strength = -strength if signed and negative[place] else strength
                    changed = theirs._apply_image_or_video_transform(changed, name, strength, theirs.interpolation, {})
                mixed += float(weights[index, chain]) * changed.double()
            # Cut to 8 bits, so up to one level lower. Where a warp rounds the other way it is one level more, unless
            # a later operation of the chain enlarges that.
            beyond = torch.maximum(output[index] - mixed, mixed - 1 - output[index])
            assert (beyond > 0.01).double().mean() < 0.01
            assert (beyond > 1.01).double().mean() < 0.005


def test_draws(occur_as) -> None:
    augment = AugMix(severity=4)
    share, weights, depths, entries, bins, negative = augment.draw(20_000, seeded())
    torch.testing.assert_close(share + weights.sum(1), torch.ones_like(share))
    assert kstest(share.numpy(), "uniform").pvalue > 1e-3
    # One of three shares of a flat Dirichlet is Beta(1, 2).
    assert kstest((weights[:, 0] / (1 - share)).numpy(), "beta", (1, 2)).pvalue > 1e-3
    assert occur_as(depths, torch.tensor([0, 1, 1, 1]))
    assert occur_as(entries, torch.ones(13))
    assert occur_as(bins, torch.ones(4))
    assert occur_as(negative.long(), torch.ones(2))


def test_without_the_tones_that_resemble_corruptions() -> None:
    entries = AugMix(all_ops=False).draw(2000, seeded())[3]
    assert set(entries.flatten().tolist()) == set(range(9))
