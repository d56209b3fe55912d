"""Seeds whose test score stands apart from the other seeds of their arm, a sentence for each."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

FEWEST_OTHERS = 3
"""Other seeds of an arm, below which their spread says nothing."""

FAR = 5.0
"""Standard deviations of the other seeds; by chance one arm of five seeds in ten has a seed as far from the others."""

LEAST = 2.0
"""Points of the score; less is not worth a look, however well the others agree."""


def outlying_seeds(arms: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each seed that is at least `FAR` and `LEAST` away from the mean of its arm's other seeds.

    Args:
        arms: The `arms` of a summary.
    """
    found = []
    for arm in arms:
        values = arm["test_score"]["values"]
        for place, (trial, value) in enumerate(zip(arm["trials"], values, strict=True)):
            others = [*values[:place], *values[place + 1 :]]
            if len(others) < FEWEST_OTHERS:
                continue
            mean, spread = statistics.fmean(others), statistics.stdev(others)
            if abs(value - mean) >= max(LEAST, FAR * spread):
                found.append(
                    f"The trial {trial} stands apart on test: {value:.2f} % against {mean:.2f} % on average of the "
                    f"other {len(others)} seeds of {arm['name']} ({min(others):.2f} to {max(others):.2f})."
                )
    return found
