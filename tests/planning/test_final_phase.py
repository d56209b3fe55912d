"""The final phase alone: its trials from the results of the earlier phases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dabo_ray.planning import final_phase
from dabo_ray.planning.final_phase import final_trials
from dabo_ray.trials import FROZEN, LEARNED, Outcome, Phase, Trial, TrialResult
from tests.planning.fake_backend import study_with


def searched(number: int) -> TrialResult:
    trial = Trial(name=f"search-{number:04d}", phase=Phase.SEARCH, arm=LEARNED, method=LEARNED, seed=0, epochs=4)
    return TrialResult(trial=trial, outcome=Outcome.COMPLETE)


def origins(trials: list[Trial]) -> dict[str, str | None]:
    return {trial.name: trial.origin for trial in trials if trial.method == FROZEN}


@pytest.mark.parametrize("backwards", [False, True])
def test_a_frozen_trial_learns_from_its_own_learned_one_in_whatever_order_they_come(
    backwards: bool, monkeypatch: pytest.MonkeyPatch
):
    in_order = final_phase._with_seed

    def reordered(*arguments: Any) -> Iterator[Trial]:
        trials = list(in_order(*arguments))
        return iter(trials[::-1] if backwards else trials)

    monkeypatch.setattr(final_phase, "_with_seed", reordered)
    trials = final_trials(study_with(), {}, [searched(3), searched(1)], {})
    assert origins(trials) == {
        f"final-frozen-{rank}-seed-{seed}": f"final-learned-{rank}-seed-{seed}" for rank in (1, 2) for seed in (0, 1)
    }


def test_after_an_extension_trials_keep_their_names_and_new_ones_take_no_old_one():
    study = study_with(final={"top": 1, "seeds": 1})
    before = final_trials(study, {}, [searched(1)], {})
    both = study_with(final={"top": 2, "seeds": 1})
    after = final_trials(both, {}, [searched(7), searched(1)], {trial.name: trial for trial in before})
    assert [(trial.name, trial.arm) for trial in after] == [
        ("final-learned-1-seed-0-again", "learned-1"),
        ("final-frozen-1-seed-0-again", "frozen-1"),
        ("final-learned-1-seed-0", "learned-2"),
        ("final-frozen-1-seed-0", "frozen-2"),
    ]
    assert origins(after) == {
        "final-frozen-1-seed-0-again": "final-learned-1-seed-0-again",
        "final-frozen-1-seed-0": "final-learned-1-seed-0",
    }
