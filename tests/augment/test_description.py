"""A learned distribution in words and as a picture: the numbers are those of the distribution."""

from __future__ import annotations

import math
import re

import pytest
import torch
from matplotlib.figure import Figure

from dabo_ray.augment.affine import AffineAugmenter, AffineMatrixAugmenter
from dabo_ray.augment.description import describe
from dabo_ray.augment.transform import LearnedTransform


def with_spreads(*spreads: float, **options) -> AffineAugmenter:
    """Spreads in the order of the operations in use; the noise is uniform, so these are of uniform distributions."""
    made = AffineAugmenter(**options)
    with torch.no_grad():
        made.log_spread.copy_(torch.tensor(spreads).log())
    return made


def numbers(text: str, name: str) -> list[float]:
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return [float(number) for number in re.findall(r"[+-]?\d+\.\d+|95", line) if number != "95"]


def test_spreads_and_ranges_in_human_units() -> None:
    """Uniform in (-a, a): standard deviation a / sqrt(3), and 95 % of it within 0.95 a."""
    text = describe(with_spreads(math.radians(10), 0.1, 1e-9, 1e-9, 0.02, 0.04))
    spread, low, high = numbers(text, "rotation")
    assert spread == pytest.approx(10, rel=0.03)
    assert [low, high] == pytest.approx([-9.5 * math.sqrt(3), 9.5 * math.sqrt(3)], rel=0.05)
    spread, low, high = numbers(text, "scale")
    assert spread == pytest.approx(10, rel=0.05)
    assert (low, high) == pytest.approx((math.exp(-0.095 * math.sqrt(3)), math.exp(0.095 * math.sqrt(3))), abs=0.02)
    assert numbers(text, "translation x")[0] == pytest.approx(1, rel=0.1)
    assert numbers(text, "translation y")[0] == pytest.approx(2, rel=0.1)
    assert "shear" not in text.partition("\n")[2]


def test_a_narrow_range_is_not_rounded_away() -> None:
    text = describe(with_spreads(math.radians(0.02), 0.002, 1e-9, 1e-9, 1e-9, 1e-9))
    assert "between -0.03 and +0.03 degrees" in text
    assert "between 0.997 and 1.003 times" in text


def test_a_picture_is_turned_moved_and_magnified_as_described() -> None:
    """A map that reads from the right of, below and twice as far out: the picture goes left, up and shrinks."""
    made = AffineMatrixAugmenter(hidden=2, centred=False)
    last = made.network[-1]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        for weight in made.parameters():
            weight.zero_()
        last.bias.copy_(torch.atanh(torch.tensor([0.5, 0, 0.2, 0, 0.5, 0.4])))
    text = describe(made)
    assert "between 0.67 and 0.67 times" in text
    assert numbers(text, "translation x")[1:3] == [-10, -10]
    assert numbers(text, "translation y")[1:3] == [-20, -20]


def test_only_what_is_in_use_is_told() -> None:
    text = describe(with_spreads(0.2, operations=["rotation"]))
    assert len(text.splitlines()) == 2
    assert "rotation" in text.splitlines()[1]
    assert describe(with_spreads(1e-12, operations=["rotation"])).endswith("Nothing is changed.")


def test_conditions_are_told() -> None:
    assert "all 3 classes" in describe(AffineAugmenter(conditioning="class", num_classes=3))
    assert "grey" in describe(AffineAugmenter(conditioning="image"))


def test_one_class_or_all() -> None:
    made = AffineAugmenter(conditioning="class", num_classes=2, operations=["rotation"])
    with torch.no_grad():
        made.class_log_spread[1] = math.log(4)
    spreads = [numbers(describe(made, label), "rotation")[0] for label in (0, 1, None)]
    assert spreads == pytest.approx([4.0, 16.0, math.sqrt((4.0**2 + 16.0**2) / 2)], rel=0.03)
    for augmenter, label in ((made, 2), (AffineAugmenter(), 0)):
        with pytest.raises(ValueError, match=f"label {label}"):
            describe(augmenter, label)


def test_plot_writes_a_file_and_draws_on_axes(tmp_path) -> None:
    transform = LearnedTransform(with_spreads(0.2, 0.1, 0.05, 0.05, 0.1, 0.1))
    transform.plot(tmp_path / "learned.png")
    assert (tmp_path / "learned.png").stat().st_size > 5000
    axes = Figure().subplots()
    assert transform.plot(axes) is axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["translation y", "translation x", "shear", "aspect", "scale", "rotation"]
    assert len(axes.collections) == 6
    assert transform.plot().figure is not axes.figure
