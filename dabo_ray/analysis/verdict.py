"""Answer of a study in plain words: one sentence that the terminal, the report, the tables and MLflow share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dabo_ray.analysis.statistics import BEST_BASELINE, Comparison, Verdict, interval_95, is_learned


def headline(arms: Sequence[Mapping[str, Any]], comparisons: Sequence[Comparison]) -> Comparison | None:
    """The comparison that answers a study: its learned arm with the best test mean against the best baseline.

    The choice among the learned arms is paid for: the p-value is corrected for all of them.
    """
    against_best = {c.arm: c for c in comparisons if c.against == BEST_BASELINE}
    return next((against_best[arm["name"]] for arm in arms if arm["name"] in against_best), None)


def answer(arms: Sequence[Mapping[str, Any]], comparisons: Sequence[Comparison]) -> str:
    """The answer of a study as a sentence or two.

    Args:
        arms: The `arms` of its summary, best test mean first.
        comparisons: What `compare` made of them.
    """
    if not arms:
        return "No answer yet: the final phase has no complete trial, so nothing has been scored on test."
    found = headline(arms, comparisons)
    if found is not None:
        return sentence(found)
    learned = [arm for arm in arms if is_learned(arm)]
    if learned and len(learned) < len(arms):
        return f"No comparison: no seed has been scored for a learned arm and for a baseline. {_best(arms)}"
    return f"No comparison: no {'baseline' if learned else 'learned arm'} has been scored on test. {_best(arms)}"


def sentence(c: Comparison) -> str:
    """A comparison of a learned arm with the best baseline in words, with its numbers."""
    ours, theirs = f"The learned arm {c.arm}", f"the best baseline, {c.reference}"
    if c.verdict is Verdict.UNDECIDED:
        said = f"{ours} and {theirs}, cannot be told apart on test: the difference is {c.difference:+.2f} points"
    else:
        said = f"{ours} is {abs(c.difference):.2f} points {c.verdict} on test than {theirs}"
    return f"{said} ({_evidence(c)})."


def _evidence(c: Comparison) -> str:
    seeds = f"{c.seeds} seed{'s' * (c.seeds > 1)}"
    if c.seeds < 2:
        return f"{seeds}, which says nothing about chance"
    if c.low is None or c.high is None:
        return f"{p_text(c.p)}, {seeds}; they agree too well for an interval"
    # "4 points worse" goes with an interval of how much worse.
    low, high = (-c.high, -c.low) if c.verdict is Verdict.WORSE else (c.low, c.high)
    return f"95 % interval {low:.2f} to {high:.2f}, {p_text(c.p)}, {seeds}"


def p_text(p: float) -> str:
    """A p-value with two digits that count: `p = 0.012`, `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2f}" if p >= 0.095 else f"p = {p:.3f}"


def _best(arms: Sequence[Mapping[str, Any]]) -> str:
    score, num_seeds = arms[0]["test_score"], len(arms[0]["seeds"])
    interval = interval_95(score)
    lead = "" if interval is None else "95 % interval {:.2f} to {:.2f}, ".format(*interval)
    seeds = f"{lead}{num_seeds} seed{'s' * (num_seeds > 1)}"
    return f"The best arm, {arms[0]['name']}, reached {score['mean']:.2f} % on test ({seeds})."
