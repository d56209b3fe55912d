"""The table of arms at the end of a study."""

from __future__ import annotations

import io
import re
from typing import Any

from rich.console import Console

from dabo_ray.reporting.arms_table import print_arms


def arm(name: str, *, mean: float, ci95: float | None, select: float | None, cost: float | None) -> dict[str, Any]:
    test = {"mean": mean, "ci95": ci95, "values": [mean] * 3}
    return {
        "name": name,
        "method": name,
        "settings": {},
        "seeds": [0, 1, 2],
        "score": "accuracy",
        "test_score": test,
        "select_score": select,
        "seconds": 12.34,
        "cost_ratio": cost,
    }


def test_the_table_of_arms_fits_80_columns() -> None:
    file = io.StringIO()
    arms = [
        arm("learned-1", mean=93.456, ci95=0.5, select=94.0, cost=2.5),
        arm("random_augmenter", mean=80.0, ci95=None, select=None, cost=None),
    ]
    answer = "The learned arm [learned-1] and the best baseline, none, cannot be told apart on test."
    seeds = [{"warning": ""}, {"warning": "The trial [final-learned-1-seed-3] did not converge."}]
    summary: dict[str, Any] = {"study": "digits", "arms": arms, "answer": answer, "learned_seeds": seeds}
    summary |= {"outlying_seeds": [], "use_this": None}
    print_arms(summary, Console(file=file, width=80))
    shown = file.getvalue()
    assert re.search(r"learned-1 +3 +93\.46 \(92\.96 to 93\.96\) +94\.00 +12\.3 +2\.50x", shown)
    assert re.search(r"random_augmenter +3 +80\.00 +- +12\.3 +-", shown)
    assert answer in " ".join(shown.split())
    assert shown.endswith("\nThe trial [final-learned-1-seed-3] did not converge.\n")
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_what_to_use_is_in_a_box_and_its_code_can_be_copied() -> None:
    file = io.StringIO()
    code = "import dabo_ray\n\ntransform = dabo_ray.load('/a/very/long/path/" + "x" * 80 + "/augmenter.safetensors')"
    found = {"arm": "frozen-[1]", "what": "Learned", "certainty": "It is sure.", "file": "/a/b", "code": code}
    arms = [arm("none", mean=93.456, ci95=0.5, select=94.0, cost=1.0)]
    summary: dict[str, Any] = {"study": "digits", "arms": arms, "answer": "Yes.", "learned_seeds": []}
    summary |= {"outlying_seeds": [], "use_this": found}
    print_arms(summary, Console(file=file, width=80))
    shown = file.getvalue()
    assert "Use this: frozen-[1]" in shown and "It is sure." in shown and "File: /a/b\n" in shown
    assert shown.endswith(f"\n{code}\n"), "no line of the code is broken or framed"


def test_a_study_without_a_final_phase_says_so() -> None:
    file = io.StringIO()
    print_arms({"study": "digits", "arms": [], "answer": "No answer yet."}, Console(file=file))
    assert file.getvalue() == "No answer yet.\n"
