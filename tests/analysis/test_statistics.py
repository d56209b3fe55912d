"""Intervals, corrected tests and verdicts: against scipy, printed tables, brute force and simulation."""

import itertools
import warnings

import numpy as np
import pytest
import scipy.stats

from dabo_ray.analysis.statistics import BASIS_ARM, BEST_BASELINE, Verdict, compare, half_width_95, holm


def arm(name, values, method=None, seeds=None):
    accuracy = {"mean": float(np.mean(values)), "ci95": half_width_95(values), "values": list(values)}
    seeds = list(range(len(values))) if seeds is None else seeds
    return {"name": name, "method": method or name, "seeds": seeds, "test_score": accuracy}


def learned(values, name="learned-1", **rest):
    return arm(name, values, "frozen" if name.startswith("frozen") else "learned", **rest)


def against(arms, kind, name="learned-1"):
    (found,) = [c for c in compare(arms) if c.against == kind and c.arm == name]
    return found


# Student's t, two-sided 95 %: any printed table (e.g. NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2).
@pytest.mark.parametrize(("n", "quantile"), [(2, 12.706), (3, 4.303), (5, 2.776), (10, 2.262), (31, 2.042)])
def test_half_width_agrees_with_the_printed_table(n, quantile):
    values = np.arange(n, dtype=float)
    expected = quantile * values.std(ddof=1) / np.sqrt(n)
    assert half_width_95(values) == pytest.approx(expected, rel=3e-4)  # the table has three decimals


@pytest.mark.parametrize("n", [2, 3, 7, 40])
def test_half_width_agrees_with_scipy(n):
    values = np.random.default_rng(n).normal(90, 3, n)
    low, high = scipy.stats.t.interval(0.95, n - 1, loc=values.mean(), scale=scipy.stats.sem(values))
    assert half_width_95(list(values)) == pytest.approx((high - low) / 2, rel=1e-12)


def test_interval_covers_the_true_mean_19_times_in_20():
    generator = np.random.default_rng(7)
    num_draws = 4000
    covered = 0
    for values in generator.normal(93.0, 1.5, (num_draws, 3)):
        covered += abs(values.mean() - 93.0) <= half_width_95(values)
    standard_error = np.sqrt(0.95 * 0.05 / num_draws)
    assert abs(covered / num_draws - 0.95) < 4 * standard_error


def test_half_width_of_few_or_equal_values():
    assert half_width_95([]) is None
    assert half_width_95([90.0]) is None
    assert half_width_95([90.0, 90.0]) == 0


def holm_by_closed_testing(p_values):
    """A hypothesis falls if every set of hypotheses that holds it falls by Bonferroni (Marcus et al. 1976)."""
    indices = range(len(p_values))
    sets = [s for size in range(1, len(p_values) + 1) for s in itertools.combinations(indices, size)]
    return [max(min(1.0, len(s) * min(p_values[j] for j in s)) for s in sets if i in s) for i in indices]


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_the_closed_test_of_bonferroni(seed):
    p_values = np.random.default_rng(seed).uniform(0, 0.3, 6).round(2).tolist()
    assert holm(p_values) == pytest.approx(holm_by_closed_testing(p_values))


def test_holm_of_none_and_of_one():
    assert holm([]) == []
    assert holm([0.03]) == [0.03]
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_two_arms_are_compared_by_scipys_paired_t_test():
    generator = np.random.default_rng(0)
    ours, theirs = generator.normal(91, 1, 5), generator.normal(90, 1, 5)
    found = against([learned(ours), arm("none", theirs)], BEST_BASELINE)
    oracle = scipy.stats.ttest_rel(ours, theirs)
    interval = oracle.confidence_interval(0.95)
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert (found.seeds, found.difference) == (5, pytest.approx(np.mean(ours - theirs)))


def test_against_several_baselines_bounds_and_p_are_those_of_single_tests():
    generator = np.random.default_rng(1)
    ours = generator.normal(93, 1, 6)
    others = {name: generator.normal(mean, 1, 6) for name, mean in {"none": 88, "flip": 90, "affine": 91}.items()}
    found = against([learned(ours), *(arm(name, values) for name, values in others.items())], BEST_BASELINE)
    better = {n: scipy.stats.ttest_rel(ours, v, alternative="greater") for n, v in others.items()}
    assert found.reference == max(others, key=lambda name: others[name].mean())
    assert found.p == pytest.approx(2 * max(test.pvalue for test in better.values()))
    assert found.low == pytest.approx(min(t.confidence_interval(0.975).low for t in better.values()))
    lesser = [scipy.stats.ttest_rel(ours, v, alternative="less") for v in others.values()]
    assert found.high == pytest.approx(min(t.confidence_interval(1 - 0.025 / 3).high for t in lesser))


def test_bounds_stay_within_what_accuracies_can_differ_by():
    found = against([learned([45.0, 90.0]), arm("none", [60.0, 20.0])], BEST_BASELINE)
    assert scipy.stats.ttest_1samp([-15.0, 70.0], 0).confidence_interval(0.95).high > 500
    assert (found.low, found.high) == (-100.0, 100.0)


def test_only_seeds_that_both_have_are_paired():
    ours = learned([90.0, 99.0, 92.0, 93.0], seeds=[1, 5, 3, 4])
    theirs = arm("none", [89.0, 50.0, 90.5, 92.5], seeds=[1, 2, 3, 4])
    found = against([ours, theirs], BEST_BASELINE)
    assert (found.seeds, found.difference) == (3, pytest.approx((1.0 + 1.5 + 0.5) / 3))


def test_arms_without_a_common_seed_are_not_compared():
    assert compare([learned([90.0, 91.0]), arm("none", [80.0, 81.0], seeds=[7, 8])]) == []
    assert compare([]) == compare([learned([90.0])]) == compare([arm("none", [90.0])]) == []


def test_a_baseline_without_a_common_seed_leaves_the_best_one_unknown():
    arms = [learned([90.0, 91.0, 90.5]), arm("none", [80.0, 81.1, 80.2]), arm("flip", [99.0], seeds=[7])]
    found = against(arms, BEST_BASELINE)
    assert (found.verdict, found.reference, found.low) == (Verdict.UNDECIDED, "none", None)
    assert against(arms, BASIS_ARM).verdict is Verdict.BETTER


def test_every_arm_is_compared_with_none_and_the_learned_ones_with_the_best_baseline():
    arms = [learned([95.0, 95.5]), learned([94.0, 95.0], "frozen-1"), arm("flip", [91.0, 93]), arm("none", [90.0, 92])]
    assert [(c.arm, c.against) for c in compare(arms)] == [
        ("learned-1", BEST_BASELINE),
        ("frozen-1", BEST_BASELINE),
        ("learned-1", BASIS_ARM),
        ("frozen-1", BASIS_ARM),
        ("flip", BASIS_ARM),
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict", "p"),
    [
        ([90.0], [80.0], Verdict.UNDECIDED, 1.0),
        ([90.0, 90.0], [90.0, 90.0], Verdict.UNDECIDED, 1.0),
        ([90.0, 91.0], [90.0, 91.0], Verdict.UNDECIDED, 1.0),
        # The sign test: two seeds that agree are as likely as two coins that do.
        ([91.1, 92.1], [90.1, 91.1], Verdict.UNDECIDED, 0.5),
        ([90.0] * 5, [91.0] * 5, Verdict.UNDECIDED, 0.0625),
        ([90.0] * 6, [91.0] * 6, Verdict.WORSE, 0.03125),
        ([91.0] * 6, [90.0] * 6, Verdict.BETTER, 0.03125),
        ([91.0, 89.0], [90.0, 90.0], Verdict.UNDECIDED, 1.0),
    ],
)
def test_ties_and_few_seeds(ours, theirs, verdict, p):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = against([learned(ours), arm("none", theirs)], BEST_BASELINE)
    assert (found.verdict, found.p) == (verdict, pytest.approx(p))
    assert np.isfinite(found.difference)
    if verdict is Verdict.UNDECIDED:
        assert found.low is None or found.low <= 0 <= found.high


def simulate(num_studies, learned_means, baseline_means, seed):
    """Studies of five seeds whose arms share a part of their noise; gives their comparisons with the best baseline."""
    generator = np.random.default_rng(seed)
    names = [f"learned-{at}" for at, _ in enumerate(learned_means)]
    others = ["none", *(f"baseline-{at}" for at, _ in enumerate(baseline_means[1:]))]
    for _ in range(num_studies):
        shared = generator.normal(0, 1, 5)
        arms = [
            learned(list(mean + shared + generator.normal(0, 1, 5)), n)
            for n, mean in zip(names, learned_means, strict=True)
        ]
        arms += [
            arm(n, list(mean + shared + generator.normal(0, 1, 5)))
            for n, mean in zip(others, baseline_means, strict=True)
        ]
        yield compare(arms)


@pytest.mark.parametrize("baseline_means", [[90.0], [90.0] * 6, [90.0, 89.8, 85.0, 70.0]])
def test_among_arms_that_are_the_best_and_equal_errors_are_as_rare_as_promised(baseline_means):
    """Three learned arms as good as the best baseline: a study may call any of them different 5 times in 100."""
    num_studies = 1500
    wrong = {BEST_BASELINE: 0, BASIS_ARM: 0}
    covered = 0
    for comparisons in simulate(num_studies, [90.0] * 3, baseline_means, seed=len(baseline_means)):
        for kind in wrong:
            of_kind = [c for c in comparisons if c.against == kind and c.arm.startswith("learned")]
            wrong[kind] += any(c.verdict is not Verdict.UNDECIDED for c in of_kind)
        covered += all(c.low <= 0 <= c.high for c in comparisons if c.against == BEST_BASELINE)
    limit = 0.05 + 3 * np.sqrt(0.05 * 0.95 / num_studies)
    assert wrong[BEST_BASELINE] / num_studies < limit
    assert wrong[BASIS_ARM] / num_studies < limit
    assert covered / num_studies > 1 - limit


def test_interval_of_one_pair_covers_the_true_difference_19_times_in_20():
    num_studies = 4000
    covered = sum(c[0].low <= 1.5 <= c[0].high for c in simulate(num_studies, [91.5], [90.0], seed=3))
    assert abs(covered / num_studies - 0.95) < 4 * np.sqrt(0.05 * 0.95 / num_studies)


def test_a_verdict_and_its_interval_never_contradict_each_other():
    seen = set()
    for comparisons in simulate(300, [91.0, 92.5, 88.0], [90.0, 90.5, 86.0], seed=8):
        for c in comparisons:
            expected = Verdict.BETTER if c.low > 0 else Verdict.WORSE if c.high < 0 else Verdict.UNDECIDED
            assert c.verdict is expected, c
            seen.add((c.against, expected))
    assert len(seen) >= 5


def test_what_differs_by_much_is_found():
    found = [c[0].verdict for c in simulate(200, [97.0], [90.0, 89.0, 91.0], seed=4)]
    assert found.count(Verdict.BETTER) > 190
    found = [c[0].verdict for c in simulate(200, [84.0], [90.0, 89.0, 91.0], seed=5)]
    assert found.count(Verdict.WORSE) > 190
