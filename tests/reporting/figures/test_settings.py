"""That the figures of a search show its trials, on axes that suit their values."""

import numpy as np
import pytest

from dabo_ray.reporting.figures import settings as figures
from dabo_ray.trials import Outcome, Phase


def test_nothing_to_show_gives_no_figure(make_trial):
    trials = [make_trial("search-0000"), make_trial("final-0", Phase.FINAL)]
    assert figures.score_by_setting(trials) == {}
    assert figures.importance_bars({}) is None
    assert figures.parallel_coordinates(trials) is None


def test_settings_are_on_the_axis_that_suits_them(drawn, make_trial, texts):
    generator = np.random.default_rng(3)
    trials = [
        make_trial(
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
        make_trial("search-0012", outcome=Outcome.FAIL, metrics={"select_accuracy": 1.0}, settings={"constant": 4})
    )
    trials.append(make_trial("none", Phase.BASELINES, "none", "none", metrics={"select_accuracy": 72.0}))
    shown = figures.score_by_setting(trials)
    searched = ["augmenter.flip", "augmenter.lr", "augmenter.name", "augmenter.shift", "bilevel.inner_steps"]
    assert list(shown) == searched
    axes = dict(zip(searched, (figure.axes[0] for figure in drawn), strict=True))
    assert {key: ax.get_xscale() for key, ax in axes.items()} == {
        **dict.fromkeys(searched, "linear"),
        "augmenter.lr": "log",
    }
    assert {"affine", "affine_color", "pruned", "none"} <= texts(shown["augmenter.name"])
    complete, pruned, basis = axes["augmenter.lr"].lines
    assert (len(complete.get_xdata()), len(pruned.get_xdata())) == (8, 4)
    assert set(basis.get_ydata()) == {72.0}
    first_complete = trials[1]
    assert complete.get_xydata()[0].tolist() == [
        first_complete.trial.settings["augmenter.lr"],
        first_complete.metrics["select_accuracy"],
    ]


def test_thousands_of_trials_stay_a_small_picture(make_trial, svg_of):
    generator = np.random.default_rng(5)
    trials = [
        make_trial(f"search-{at}", metrics={"select_accuracy": float(y)}, settings={"augmenter.lr": float(x)})
        for at, (x, y) in enumerate(generator.uniform(0.1, 90, (5000, 2)))
    ]
    assert len(svg_of(figures.score_by_setting(trials)["augmenter.lr"])) < 200_000


def test_importance_is_in_the_order_of_what_matters(drawn):
    assert figures.importance_bars({"augmenter.lr": 0.25, "bilevel.inner_steps": 0.75})
    axes = drawn[0].axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.75, 0.25]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["bilevel.inner_steps", "augmenter.lr"]
    assert [text.get_text().strip() for text in axes.texts] == ["75 %", "25 %"]


def searched(make_trial, at, accuracy, outcome=Outcome.COMPLETE, **settings):
    settings = {key.replace("__", "."): value for key, value in settings.items()}
    return make_trial(f"search-{at}", outcome=outcome, metrics={"select_accuracy": accuracy}, settings=settings)


def test_parallel_coordinates_lead_each_trial_through_its_settings(drawn, make_trial):
    trials = [
        searched(make_trial, 0, 90.0, a__lr=0.01, a__steps=1, a__name="affine", same=3),
        searched(make_trial, 1, 80.0, a__lr=0.1, a__steps=4, a__name="policy", same=3),
        searched(make_trial, 2, 70.0, Outcome.PRUNED, a__lr=1.0, a__steps=2, a__name="affine", same=3),
        searched(make_trial, 3, 60.0, a__lr=0.5, a__steps=2),
        searched(make_trial, 4, 50.0, Outcome.FAIL, a__lr=0.5, a__steps=2, a__name="affine", same=3),
    ]
    assert figures.parallel_coordinates(trials)
    axes = drawn[0].axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == 3 and line.get_xdata()[0] == 0]
    # The worst first, so that the best lie on top; columns a.lr (logarithmic), a.name, a.steps.
    expected = [[1.0, 0.0, 1 / 3], [0.5, 1.0, 1.0], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose([line.get_ydata() for line in lines], expected)
    assert [line.get_linestyle() for line in lines] == [":", "-", "-"]


@pytest.mark.parametrize("varied", [{}, {"a__lr": (0.1, 0.2)}])
def test_parallel_coordinates_need_two_settings(make_trial, varied):
    trials = [searched(make_trial, at, 90.0, **{key: values[at] for key, values in varied.items()}) for at in range(2)]
    assert figures.parallel_coordinates(trials) is None
