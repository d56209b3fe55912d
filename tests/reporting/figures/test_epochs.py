"""That curves over epochs show the trials they were given."""

from dabo_ray.reporting.figures import epochs as figures
from dabo_ray.trials import Phase


def test_nothing_to_show_gives_no_figure(make_trial):
    trials = [make_trial("search-0000"), make_trial("final-0", Phase.FINAL)]
    assert figures.learning_curves(trials, {}) is None
    assert figures.final_losses(trials, {}) is None
    assert figures.learned_distribution(trials, {}, {}) == {}
    assert figures.signal_to_noise(trials, {}) == {}


def test_learning_curves_are_medians_of_the_trials_that_got_there(drawn, make_trial):
    records = {
        name: [{"epoch": epoch, "select_accuracy": value} for epoch, value in enumerate(curve, 1)]
        for name, curve in {"a": [50, 60, 70], "b": [60, 80], "c": [40, 50, float("nan")], "none": [30, 35]}.items()
    }
    records["final"] = [{"epoch": 1, "select_accuracy": 0.0}]
    trials = [make_trial(name) for name in "abc"] + [make_trial("none", Phase.BASELINES, "none", "none")]
    assert figures.learning_curves([*trials, make_trial("final", Phase.FINAL), make_trial("no records")], records)
    (axes,) = drawn[0].axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines == {"learned": [[1, 50], [2, 60], [3, 70]], "none": [[1, 30], [2, 35]]}


def test_learned_distribution_is_the_mean_over_seeds_and_each_of_them(drawn, make_trial, texts):
    trials = [
        make_trial("final-a", Phase.FINAL, arm="learned-1"),
        make_trial("final-b", Phase.FINAL, arm="learned-1"),
        make_trial("final-none", Phase.FINAL, "none", "none"),
        make_trial("search"),
    ]
    records = {
        "final-a": [{"epoch": 1, "rotation_spread_deg": 10.0}, {"epoch": 2, "rotation_spread_deg": 20.0}],
        "final-b": [{"epoch": 1, "rotation_spread_deg": 14.0, "outer_loss": 1.0}],
        "final-none": [{"epoch": 1, "train_loss": 1.0}],
        "search": [{"epoch": 1, "scale_spread_percent": 3.0}],
    }
    shown = figures.learned_distribution(trials, records, {"rotation_spread_deg": 26.0, "scale_spread_percent": 3.0})
    assert list(shown) == ["rotation_spread_deg"]
    assert {"learned-1", "rotation spread (degrees)", "the shift itself"} <= texts(shown["rotation_spread_deg"])
    line, first, second, truth = drawn[0].axes[0].lines
    assert list(truth.get_ydata()) == [26, 26]
    assert line.get_xydata().tolist() == [[1, 12], [2, 20]]
    assert first.get_xydata().tolist() == [[1, 10], [2, 20]]
    assert second.get_xydata().tolist() == [[1, 14]]
    assert line.get_color() == first.get_color() == second.get_color()


def test_every_seed_has_a_line_with_its_number(drawn, make_trial, texts):
    trials = [make_trial(f"final-learned-1-seed-{seed}", Phase.FINAL, arm="learned-1") for seed in (0, 1)]
    records = {
        "final-learned-1-seed-0": [{"epoch": 1, "outer_loss": 2.0}, {"epoch": 2, "outer_loss": 1.0}],
        "final-learned-1-seed-1": [{"epoch": 1, "outer_loss": 3.0}, {"epoch": 2, "outer_loss": 1.5}],
    }
    shown = figures.every_seed(trials, records)
    assert list(shown) == ["learned-1"]
    assert [line.get_ydata().tolist() for line in drawn[0].axes[0].lines] == [[2.0, 1.0], [3.0, 1.5]]
    assert {"0", "1"} <= {text.strip() for text in texts(shown["learned-1"])}


def test_losses_and_evidence_are_those_of_the_final_arms(drawn, make_trial, texts):
    trials = [
        make_trial("final-a", Phase.FINAL, arm="learned-1"),
        make_trial("final-none", Phase.FINAL, "none", "none"),
        make_trial("search"),
    ]
    evidence = {"hypergradient_snr_network": 1.5, "hypergradient_snr_log_spread": float("nan")}
    records = {
        "final-a": [{"epoch": 1, "train_loss": 2.0, **evidence}, {"epoch": 2, "train_loss": 1.5}],
        "final-none": [{"epoch": 1, "train_loss": 1.0}],
        "search": [{"epoch": 1, "train_loss": 9.0, "hypergradient_snr_bias": 9.0}],
    }
    assert figures.final_losses(trials, records)
    lines = {line.get_label(): line.get_xydata().tolist() for line in drawn[0].axes[0].lines}
    assert lines == {"learned-1": [[1, 2.0], [2, 1.5]], "none": [[1, 1.0]]}
    shown = figures.signal_to_noise(trials, records)
    assert list(shown) == ["network"]
    assert {"learned-1", "noise alone"} <= texts(shown["network"])
