"""A learned distribution from its file: what is drawn from it, and files that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.export import HEADER_KEY, load, save
from dabo_ray.augment.fixed import Compose
from dabo_ray.augment.frozen import AugmenterFileError, FrozenAugmenter, read_frozen
from dabo_ray.augment.geometric import Flip
from dabo_ray.augment.registry import AUGMENTERS


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(name: str, **options) -> Augmenter:
    made = AUGMENTERS[name](hidden=8, **options)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=seeded(3)))
    return made


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", AUGMENTERS)
def test_the_same_draws_give_the_images_of_the_exported_transform(name: str, channels: int, tmp_path: Path):
    """Grey images too, for which a shift of hue or saturation is none."""
    save(shaken(name), tmp_path / "a.safetensors")
    images = torch.rand(5, channels, 9, 9, generator=seeded(1))
    torch.manual_seed(4)
    expected = load(tmp_path / "a.safetensors")(images)
    frozen = read_frozen(tmp_path / "a.safetensors", 10)
    assert torch.equal(frozen(images, seeded(4)), expected)
    assert not torch.equal(expected, images)
    assert not any(weight.requires_grad for weight in frozen.augmenter.parameters())


def test_in_a_composition_it_takes_levels_and_what_comes_before_it(tmp_path: Path):
    save(shaken("affine"), tmp_path / "a.safetensors")
    frozen = read_frozen(tmp_path / "a.safetensors", 10)
    levels = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8, generator=seeded(1))
    for steps in ([frozen, Flip()], [Flip(), frozen]):
        composed, generator = Compose(steps), seeded(7)
        params = composed.draw(len(levels), seeded(7))
        expected = levels.float() / 255
        for step in steps:
            expected = step.apply(expected, step.draw(len(levels), generator))
        assert torch.allclose(composed.apply_uint8(levels, params), expected, atol=1e-6)


def test_weights_move_with_a_composition(tmp_path: Path):
    save(shaken("affine"), tmp_path / "a.safetensors")
    frozen = read_frozen(tmp_path / "a.safetensors", 10)
    composed = Compose([Flip(), frozen])
    assert composed.to(torch.device("meta")) is composed
    assert {weight.device.type for weight in frozen.augmenter.parameters()} == {"meta"}


def test_classes_must_be_as_many(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save(shaken("affine", conditioning="class", num_classes=3), path)
    assert read_frozen(path, 3).augmenter.num_classes == 3
    with pytest.raises(AugmenterFileError, match=r"a\.safetensors depends on .*on 3 classes, the data have 10; give"):
        read_frozen(path, 10)
    save(shaken("affine", conditioning="image"), path)
    assert read_frozen(path, 10).augmenter.conditioning == "image"


def cut_short(path: Path) -> None:
    save(shaken("affine"), path)
    path.write_bytes(path.read_bytes()[:-20])


def cut_in_the_header(path: Path) -> None:
    save(shaken("affine"), path)
    path.write_bytes(path.read_bytes()[:40])


def of_a_later_version(path: Path) -> None:
    header = {"version": 99, "name": "affine", "arguments": {}, "description": {}}
    save_file({"x": torch.zeros(1)}, path, {HEADER_KEY: json.dumps(header)})


def of_something_else(path: Path) -> None:
    save_file({"x": torch.zeros(1)}, path)


def of_other_weights(path: Path) -> None:
    header = {"version": 1, "name": "affine", "arguments": shaken("affine").arguments, "description": {}}
    save_file({"x": torch.zeros(1)}, path, {HEADER_KEY: json.dumps(header)})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "there is no file"),
        (Path.mkdir, "there is no file"),
        (Path.touch, "is damaged, or no safetensors file"),
        (lambda path: path.write_text("[[('Invert', 0.1, 0.5)]]"), "is damaged, or no safetensors file"),
        (cut_short, "is damaged, or no safetensors file"),
        (cut_in_the_header, "is damaged, or no safetensors file"),
        (of_a_later_version, "format version 99"),
        (of_something_else, "holds no learned augmenter"),
        (of_other_weights, "weights that do not fit"),
    ],
)
def test_files_that_cannot_be_used(make: Callable[[Path], object], words: str, tmp_path: Path):
    path = tmp_path / "a.safetensors"
    make(path)
    with pytest.raises(AugmenterFileError, match=words) as caught:
        read_frozen(path, 10)
    assert str(path) in str(caught.value)


def test_it_does_not_learn_and_does_what_the_augmenter_does() -> None:
    made = shaken("affine_matrix")
    images = torch.rand(4, 1, 6, 6, generator=seeded(2))
    (noise,) = made.draw(4, seeded(1))
    expected = made(images, noise).detach()
    before = [weight.detach().clone() for weight in made.parameters()]
    frozen = FrozenAugmenter(made)
    (draws,) = frozen.draw(4, seeded(1))
    assert torch.equal(draws, noise)
    output = frozen.apply(images, (draws,))
    assert torch.equal(output, expected)
    assert not output.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), before, strict=True))
    part = frozen.apply(images[1::2], (draws[1::2],))
    torch.testing.assert_close(part, expected[1::2])
    assert torch.equal(frozen(images, seeded(1)), expected)
