"""That what a search with several objectives trades is shown, and its best settings are marked."""

import pytest

from dabo_ray.reporting.figures import objectives as figures
from dabo_ray.trials import Outcome

TWO = {"select_accuracy": "maximize", "gpu_hours": "minimize"}


@pytest.fixture
def trials(make_trial):
    """Two seeds of one setting, one of another, and one that was pruned."""

    def measured(number, seed, accuracy, hours, **rest):
        metrics = {"select_accuracy": accuracy, "gpu_hours": hours}
        return make_trial(
            f"search-{number}-{seed}", seed=seed, settings={"augmenter.hidden": number}, metrics=metrics, **rest
        )

    return [
        measured(8, 0, 70.0, 1.0),
        measured(8, 1, 74.0, 3.0),
        measured(32, 0, 80.0, 8.0),
        measured(64, 0, 60.0, 0.1, outcome=Outcome.PRUNED),
    ]


def test_a_setting_is_a_mark_at_the_mean_of_its_seeds(drawn, trials, texts):
    shown = figures.trade_offs(trials, TWO, {})
    assert list(shown) == ["gpu_hours"]
    assert {"GPU-hours", "select accuracy (%)", "best in their way"} <= texts(shown["gpu_hours"])
    assert "beaten" not in texts(shown["gpu_hours"])
    (line,) = drawn[0].axes[0].lines
    assert sorted(map(tuple, line.get_xydata())) == [(2.0, 72.0), (8.0, 80.0)]


def test_what_breaks_a_constraint_is_not_among_the_best(drawn, trials):
    figures.trade_offs(trials, TWO, {"gpu_hours": 4.0})
    beaten, best = drawn[0].axes[0].lines
    assert (beaten.get_label(), [*map(tuple, beaten.get_xydata())]) == ("beaten", [(8.0, 80.0)])
    assert [*map(tuple, best.get_xydata())] == [(2.0, 72.0)]


def test_one_objective_trades_nothing(trials):
    assert figures.trade_offs(trials, {"select_accuracy": "maximize"}, {}) == {}
    assert figures.trade_offs([], TWO, {}) == {}
