"""An error while Tune tells the plan something comes out of Tune as it is."""

from __future__ import annotations

import errno
import os

import pytest

from dabo_ray.execution.plan_hooks import Errors, PlanScheduler, PlanSearcher
from dabo_ray.trials import Outcome


class Broken:
    """An execution whose database is full; Tune would call the second hook because the first raised."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def suggest(self, trial_id: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def epoch_ended(self, trial_id: str, record: dict[str, float]) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def trial_lost(self, trial_id: str) -> None:
        raise KeyError(trial_id)


RESULT = {"record/epoch": 1.0, "outcome": Outcome.COMPLETE.value, "reason": ""}


@pytest.mark.parametrize("hook", ["suggest", "on_trial_complete", "on_trial_result"])
def test_the_first_error_comes_out_before_the_next_step(hook: str):
    errors = Errors()
    searcher, scheduler = PlanSearcher(Broken(), errors), PlanScheduler(Broken(), errors)  # type: ignore[arg-type]
    errors.on_step_begin(1, [])
    if hook == "suggest":
        assert searcher.suggest("a") is None
    elif hook == "on_trial_complete":
        searcher.on_trial_complete("a", RESULT)
    else:
        trial = type("Trial", (), {"trial_id": "a"})
        assert scheduler.on_trial_result(None, trial, RESULT) == "CONTINUE"
    searcher.on_trial_complete("a", error=True)
    with pytest.raises(OSError, match="No space left"):
        errors.on_step_begin(2, [])
