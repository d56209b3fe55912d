"""The sample grid pixel by pixel, and that every figure shows what it was given."""

import base64
import os
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from dabo_ray.tracking import figures
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult


def svg_of(uri):
    head, encoded = uri.split(",", 1)
    assert head == "data:image/svg+xml;base64"
    return base64.b64decode(encoded).decode()


def texts(svg):
    """Matplotlib draws letters as outlines and leaves each text as a comment before them."""
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    return {text.strip() for text in re.findall(r"<!-- (.*?) -->", svg)}


def arm(name, values, method="none", ci95=1.0, cost_ratio=1.0):
    accuracy = {"mean": float(np.mean(values)), "ci95": ci95, "values": list(values)}
    return {"name": name, "method": method, "test_accuracy": accuracy, "cost_ratio": cost_ratio}


def trial(name, phase=Phase.SEARCH, method="learned", arm="learned", outcome=Outcome.COMPLETE, metrics=None, **rest):
    values = Trial(name=name, phase=phase, arm=arm, method=method, epochs=5, **{"seed": 0, **rest})
    return TrialResult(trial=values, outcome=outcome, metrics=metrics or {})


@pytest.mark.parametrize("channels", [1, 3])
def test_sample_grid_holds_every_pixel(tmp_path, channels):
    digits = (load_digits().images[:3] * 15.9).astype(np.uint8)
    before = np.stack([digits] * channels, axis=-1)
    after = np.stack([255 - before, np.roll(before, 2, axis=2)], axis=1)
    path = tmp_path / "samples.png"
    figures.sample_grid(before, after, path)
    assert os.listdir(tmp_path) == ["samples.png"]

    picture = np.asarray(Image.open(path).convert("RGB"))
    scale, gap, margin, caption = 9, 4, 12, 24
    step = 8 * scale + gap
    assert picture.shape == (caption + 3 * step - gap + margin, 2 * margin + 3 * step - gap + 3 * gap, 3)
    tiles = np.concatenate([before[:, None], after], axis=1)
    for row in range(3):
        for column in range(3):
            top, left = (caption + row * step, margin + column * step + 3 * gap * (column > 0))
            seen = picture[top : top + 72, left : left + 72]
            expected = np.broadcast_to(tiles[row, column], (8, 8, 3)).repeat(scale, 0).repeat(scale, 1)
            np.testing.assert_array_equal(seen, expected)
    assert picture[:caption].min() < 100  # the captions are there


def test_sample_grid_of_larger_images_that_are_not_square(tmp_path):
    before = np.random.default_rng(0).integers(0, 256, (1, 100, 60, 3), dtype=np.uint8)
    figures.sample_grid(before, before[:, None], tmp_path / "samples.png")
    picture = np.asarray(Image.open(tmp_path / "samples.png").convert("RGB"))
    np.testing.assert_array_equal(picture[24:124, 12:72], before[0])


def test_sample_grid_replaces_an_older_one(tmp_path):
    path = tmp_path / "samples.png"
    path.write_bytes(b"half a picture")
    figures.sample_grid(np.zeros((1, 8, 8, 1), np.uint8), np.zeros((1, 1, 8, 8, 1), np.uint8), path)
    Image.open(path).verify()


@pytest.mark.parametrize(
    ("before", "after", "dtype"),
    [
        ((2, 8, 8, 1), (2, 3, 8, 8, 1), np.float32),
        ((2, 8, 8, 1), (3, 3, 8, 8, 1), np.uint8),
        ((2, 8, 8, 1), (2, 3, 8, 9, 1), np.uint8),
        ((2, 8, 8, 2), (2, 3, 8, 8, 2), np.uint8),
        ((2, 8, 8, 1), (2, 0, 8, 8, 1), np.uint8),
        ((0, 8, 8, 1), (0, 3, 8, 8, 1), np.uint8),
        ((8, 8, 1), (3, 8, 8, 1), np.uint8),
    ],
)
def test_sample_grid_refuses_what_is_no_grid(tmp_path, before, after, dtype):
    with pytest.raises(ValueError, match=r"uint8 arrays of shapes \(n, H, W, C\).*got"):
        figures.sample_grid(np.zeros(before, dtype), np.zeros(after, dtype), tmp_path / "samples.png")
    assert os.listdir(tmp_path) == []


def test_nothing_to_show_gives_no_figure():
    trials = [trial("search-0000"), trial("final-0", Phase.FINAL)]
    assert figures.accuracy_per_arm([]) is None
    assert figures.accuracy_by_cost([arm("flip", [90], cost_ratio=None)]) is None
    assert figures.learning_curves(trials, {}) is None
    assert figures.accuracy_by_setting(trials) == {}
    assert figures.learned_distribution(trials, {}, {}) == {}


def test_arm_figures_name_every_arm():
    arms = [
        arm("learned-1", [93, 94, 92], method="learned", cost_ratio=4.5),
        arm("trivialaugment", [90.0], ci95=None),
        arm("a price of $5 and $6", [80, 81]),
        arm("_hidden <b>&", [80, 81], ci95=40.0, cost_ratio=0.9),
        arm("a name that is far too long to be shown in full", [70, 71], cost_ratio=20.0),
    ]
    shown = {"learned-1", "trivialaugment", "a price of $5 and $6", "_hidden &lt;b&gt;&amp;", "learned", "baseline"}
    shown |= {"a name that is far to\N{HORIZONTAL ELLIPSIS}"}
    for uri in (figures.accuracy_per_arm(arms), figures.accuracy_by_cost(arms)):
        assert shown <= texts(svg_of(uri))


def test_learning_curves_are_medians_of_the_trials_that_got_there(monkeypatch):
    drawn = capture(monkeypatch)
    records = {
        name: [{"epoch": epoch, "select_accuracy": value} for epoch, value in enumerate(curve, 1)]
        for name, curve in {"a": [50, 60, 70], "b": [60, 80], "c": [40, 50, float("nan")], "none": [30, 35]}.items()
    }
    records["final"] = [{"epoch": 1, "select_accuracy": 0.0}]
    trials = [trial(name) for name in "abc"] + [trial("none", Phase.BASELINES, "none", "none")]
    assert figures.learning_curves([*trials, trial("final", Phase.FINAL), trial("no records")], records)
    (axes,) = drawn[0].axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines == {"learned": [[1, 50], [2, 60], [3, 70]], "none": [[1, 30], [2, 35]]}


def test_settings_are_on_the_axis_that_suits_them(monkeypatch):
    drawn = capture(monkeypatch)
    generator = np.random.default_rng(3)
    trials = [
        trial(
            f"search-{at:04}",
            outcome=Outcome.PRUNED if at % 3 == 0 else Outcome.COMPLETE,
            metrics={"select_accuracy": float(generator.uniform(60, 95))},
            settings={
                "augmenter.lr": float(10 ** generator.uniform(-3, 0)),
                "bilevel.inner_steps": int(generator.integers(1, 5)),
                "augmenter.name": ["affine", "affine_color"][at % 2],
                "augmenter.flip": bool(at % 2),
                "augmenter.shift": float(generator.uniform(-1, 1)),
                "constant": 3,
            },
        )
        for at in range(12)
    ]
    trials.append(
        trial("search-0012", outcome=Outcome.FAIL, metrics={"select_accuracy": 1.0}, settings={"constant": 4})
    )
    trials.append(trial("none", Phase.BASELINES, "none", "none", metrics={"select_accuracy": 72.0}))
    shown = figures.accuracy_by_setting(trials)
    searched = ["augmenter.flip", "augmenter.lr", "augmenter.name", "augmenter.shift", "bilevel.inner_steps"]
    assert list(shown) == searched
    axes = dict(zip(searched, (figure.axes[0] for figure in drawn), strict=True))
    assert {key: ax.get_xscale() for key, ax in axes.items()} == {
        **dict.fromkeys(searched, "linear"),
        "augmenter.lr": "log",
    }
    assert {"affine", "affine_color", "pruned", "none"} <= texts(svg_of(shown["augmenter.name"]))
    complete, pruned, basis = axes["augmenter.lr"].lines
    assert (len(complete.get_xdata()), len(pruned.get_xdata())) == (8, 4)
    assert set(basis.get_ydata()) == {72.0}
    first_complete = trials[1]
    assert complete.get_xydata()[0].tolist() == [
        first_complete.trial.settings["augmenter.lr"],
        first_complete.metrics["select_accuracy"],
    ]


def test_thousands_of_trials_stay_a_small_picture():
    generator = np.random.default_rng(5)
    trials = [
        trial(f"search-{at}", metrics={"select_accuracy": float(y)}, settings={"augmenter.lr": float(x)})
        for at, (x, y) in enumerate(generator.uniform(0.1, 90, (5000, 2)))
    ]
    assert len(svg_of(figures.accuracy_by_setting(trials)["augmenter.lr"])) < 200_000


def test_learned_distribution_is_mean_and_range_over_seeds(monkeypatch):
    drawn = capture(monkeypatch)
    trials = [
        trial("final-a", Phase.FINAL, arm="learned-1"),
        trial("final-b", Phase.FINAL, arm="learned-1"),
        trial("final-none", Phase.FINAL, "none", "none"),
        trial("search"),
    ]
    records = {
        "final-a": [{"epoch": 1, "rotation_spread_deg": 10.0}, {"epoch": 2, "rotation_spread_deg": 20.0}],
        "final-b": [{"epoch": 1, "rotation_spread_deg": 14.0, "outer_loss": 1.0}],
        "final-none": [{"epoch": 1, "train_loss": 1.0}],
        "search": [{"epoch": 1, "scale_spread_percent": 3.0}],
    }
    shown = figures.learned_distribution(trials, records, {"rotation_spread_deg": 26.0, "scale_spread_percent": 3.0})
    assert list(shown) == ["rotation_spread_deg"]
    assert {"learned-1", "rotation spread (deg)", "the shift itself"} <= texts(svg_of(shown["rotation_spread_deg"]))
    line, truth = drawn[0].axes[0].lines
    assert list(truth.get_ydata()) == [26, 26]
    assert line.get_xydata().tolist() == [[1, 12], [2, 20]]
    (band,) = drawn[0].axes[0].collections
    assert band.get_paths()[0].get_extents().extents.tolist() == [1, 10, 2, 20]


def test_figures_leave_pyplot_alone():
    import matplotlib.pyplot as plt

    figures.accuracy_per_arm([arm("none", [90, 91])])
    assert plt.get_fignums() == []


def capture(monkeypatch):
    """The list to which every figure goes before it is saved."""
    drawn, save = [], figures._data_uri
    monkeypatch.setattr(figures, "_data_uri", lambda figure: (drawn.append(figure), save(figure))[1])
    return drawn
