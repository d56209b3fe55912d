"""The page of a study in MLflow, as Markdown, and its few numbers."""

from dataclasses import replace
from pathlib import Path

from dabo_ray.analysis.results import summarize
from dabo_ray.tracking.description import headline_metrics, markdown
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult


def final(arm, seed, test_accuracy, method=None):
    name = f"final-{arm}-seed-{seed}"
    trial = Trial(name=name, phase=Phase.FINAL, arm=arm, method=method or arm, seed=seed, epochs=1)
    metrics = {"test_accuracy": test_accuracy, "seconds": 90.0 if method else 30.0}
    return TrialResult(trial=trial, outcome=Outcome.COMPLETE, metrics=metrics)


RESULTS = [final("flip_crop", seed, 70.0 + seed) for seed in range(3)]
RESULTS += [final("learned-1", seed, 80.0 + 1.5 * seed, "learned") for seed in range(3)]
RESULTS += [final("none", seed, 69.0 - seed) for seed in range(3)]


def test_what_to_use_follows_the_answer():
    summary = summarize("digits", RESULTS, 61.0, {})
    summary["use_this"] = {"arm": "flip_crop", "what": "By hand", "certainty": "Sure.", "file": "", "code": "x = '_'"}
    parts = markdown("", summary, {"Arms": "#/a"}, Path("runs/digits")).split("\n\n")
    assert parts[2] == "**Use this: flip\\_crop.** By hand. Sure."
    assert parts[3] == "```python\nx = '_'\n```"


def test_a_finished_study_in_markdown():
    summary = summarize("digits", RESULTS, 61.0, {}, budget="search: 3 of 3 gpu_hours are spent")
    pages = {"Arms": "#/a?b=1&c", "Search": "#/d"}
    page = markdown("Question: does it help?\n", summary, pages, Path("runs/digits"))
    answer, links, question, arms, comparisons, budget, report, _ = page.split("\n\n")
    assert links == "[Arms](#/a?b=1&c) · [Search](#/d)"
    assert question == "Question: does it help?"
    assert answer.startswith("**The learned arm learned-1 is 10.50 points better on test than the best baseline, flip")
    assert arms.splitlines() == [
        "| arm | test accuracy (%), 95 % interval | seeds | time of a seed | cost |",
        "|---|---|---|---|---|",
        "| learned-1 | 81.50 (77.77 to 85.23) | 3 | 1 min 30 s | 3.00 |",
        "| flip\\_crop | 71.00 (68.52 to 73.48) | 3 | 30.0 s | 1.00 |",
        "| none | 68.00 (65.52 to 70.48) | 3 | 30.0 s | 1.00 |",
    ]
    first = "- learned-1 against the best baseline, flip\\_crop: +10.50 points, p = 0.0"
    assert comparisons.splitlines()[0].startswith(first)
    assert budget == "Ended early by its budget: search: 3 of 3 gpu\\_hours are spent."
    assert "`runs/digits/report.html`" in report


def test_a_seed_that_did_not_converge_is_named():
    losses = {"final-learned-1-seed-0": 0.1, "final-learned-1-seed-1": 0.9, "final-learned-1-seed-2": 0.1}
    results = [
        replace(r, metrics={**r.metrics, "outer_loss": losses[r.trial.name]}) if r.trial.name in losses else r
        for r in RESULTS
    ]
    page = markdown("", summarize("digits", results, 61.0, {}), {}, Path("runs/digits"))
    assert "The trial final-learned-1-seed-1 did not converge: outer loss 0.90 against a median of 0.10" in page
    assert page.count("did not converge") == 1


def test_a_study_without_an_answer_in_markdown():
    page = markdown("", summarize("digits", [], None, {}), {}, Path("runs/digits"))
    assert page.startswith("**No answer yet")
    assert "|" not in page


def test_the_numbers_are_few_and_finite():
    assert headline_metrics(summarize("digits", RESULTS, 61.0, {})) == {
        "wall_seconds": 61.0,
        "test_accuracy/learned-1": 81.5,
        "test_accuracy/flip_crop": 71.0,
        "test_accuracy/none": 68.0,
    }
    assert headline_metrics(summarize("digits", [], None, {})) == {}
