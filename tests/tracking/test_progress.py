"""What a person sees of a running study, on a terminal and in a file."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from dabo_ray.tracking.progress import Progress
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult

TOTALS = {Phase.BASELINES: 1, Phase.SEARCH: 4, Phase.FINAL: 5}


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def search_trial(number: int, **settings: Any) -> Trial:
    return Trial(
        name=f"search-{number:04d}",
        phase=Phase.SEARCH,
        arm="learned",
        method="learned",
        settings={"bilevel.inner_steps": number, **settings},
        seed=0,
        epochs=10,
    )


def end(trial: Trial, outcome: Outcome, accuracy: float, reason: str = "") -> TrialResult:
    return TrialResult(trial=trial, outcome=outcome, reason=reason, metrics={"epoch": 10, "select_accuracy": accuracy})


def train(progress: Progress, clock: Clock, trial: Trial, *, num_epochs: int, seconds: float, accuracy: float) -> None:
    progress.trial_started(trial)
    for epoch in range(1, num_epochs + 1):
        clock.now += seconds
        progress.epoch_ended(trial, {"epoch": epoch, "select_accuracy": accuracy})


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_in_a_file_there_are_plain_lines(clock: Clock) -> None:
    file = io.StringIO()
    progress = Progress(totals=TOTALS, epochs_per_trial=10, console=Console(file=file), clock=clock)
    trial, failed = search_trial(4, **{"augmenter.lr": 0.0123456}), search_trial(5)
    with progress:
        train(progress, clock, trial, num_epochs=10, seconds=1.0, accuracy=93.14)
        progress.trial_ended(end(trial, Outcome.COMPLETE, 93.14))
        progress.trial_started(failed)
        progress.trial_ended(
            TrialResult(trial=failed, outcome=Outcome.FAIL, reason="\x1b[36mdiverged at\nepoch 3\x1b[0m")
        )
    lines = file.getvalue().splitlines()
    assert lines == [
        "search: 4 trials planned",
        "[ 1/10] search-0004 COMPLETE select 93.1 % in 10.0 s  (inner_steps=4, lr=0.0123); about 1 min 30 s left",
        "[ 2/10] search-0005 FAIL in 0.0 s - diverged at epoch 3  (inner_steps=5); about 1 min 20 s left",
    ]
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", file.getvalue())


def test_a_heartbeat_only_after_ten_seconds_of_silence(clock: Clock) -> None:
    file = io.StringIO()
    progress = Progress(totals=TOTALS, epochs_per_trial=10, console=Console(file=file), clock=clock)
    train(progress, clock, search_trial(1), num_epochs=2, seconds=4.0, accuracy=80.0)
    progress.tick()
    assert len(file.getvalue().splitlines()) == 1
    clock.now += 2
    progress.tick()
    progress.tick()
    heartbeat = "[ 0/10] 10.0 s elapsed; search-0001 epoch 2/10, select 80.0 %"
    assert file.getvalue().splitlines()[1:] == [heartbeat]


def test_on_a_terminal_the_display_has_counts_running_trials_best_and_times(clock: Clock) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100, color_system=None)
    progress = Progress(totals=TOTALS, epochs_per_trial=10, console=console, clock=clock)
    with progress:
        for number, outcome, accuracy in (
            (1, Outcome.COMPLETE, 91.0),
            (2, Outcome.COMPLETE, 95.0),
            (3, Outcome.PRUNED, 97.0),
        ):
            trial = search_trial(number)
            train(progress, clock, trial, num_epochs=10, seconds=1.0, accuracy=accuracy)
            progress.trial_ended(end(trial, outcome, accuracy))
        train(progress, clock, search_trial(4), num_epochs=5, seconds=1.0, accuracy=90.0)
        still = Console(file=io.StringIO(), width=80)
        with still.capture() as capture:
            still.print(progress.render())
    shown = capture.get()
    assert re.search(r"search +\S+ +3/4 1 running, 2 done, 1 pruned", shown)
    assert "search-0004 epoch 5/10, select 90.0 %" in shown
    assert "best so far: search-0002 select 95.0 %  (inner_steps=2)" in shown
    assert "35.0 s elapsed, about 1 min 5 s left" in shown
    assert "\x1b[" in file.getvalue(), "a live display moves the cursor"


def test_a_trial_of_more_epochs_than_the_others_counts_with_its_own(clock: Clock) -> None:
    """Baselines at equal cost train longer than a study's other trials."""
    file = io.StringIO()
    totals = {Phase.BASELINES: 0, Phase.SEARCH: 2, Phase.FINAL: 0}
    progress = Progress(totals=totals, epochs_per_trial=10, console=Console(file=file), clock=clock)
    long, short = replace(search_trial(1), epochs=60), search_trial(2)
    train(progress, clock, short, num_epochs=10, seconds=1.0, accuracy=90.0)
    progress.trial_ended(end(short, Outcome.COMPLETE, 90.0))
    train(progress, clock, long, num_epochs=30, seconds=1.0, accuracy=90.0)
    progress.tick()
    assert file.getvalue().splitlines()[-1].startswith("[1/2] 40.0 s elapsed, about 30.0 s left; search-0001")


def test_a_failure_stays_visible_on_a_terminal(clock: Clock) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100, color_system=None)
    with Progress(totals=TOTALS, epochs_per_trial=10, console=console, clock=clock) as progress:
        progress.trial_started(search_trial(1))
        progress.trial_ended(end(search_trial(1), Outcome.FAIL, 10.0, reason="out of memory"))
    assert "search-0001 FAIL select 10.0 % in 0.0 s - out of memory" in file.getvalue()


def test_a_resumed_study_counts_what_ended_before(clock: Clock) -> None:
    file = io.StringIO()
    ended = [end(search_trial(1), Outcome.COMPLETE, 90.0), end(search_trial(2), Outcome.FAIL, 0.0)]
    progress = Progress(totals=TOTALS, epochs_per_trial=10, ended=ended, console=Console(file=file), clock=clock)
    trial = search_trial(3)
    progress.trial_started(trial)
    for epoch in range(6, 11):
        clock.now += 1
        progress.epoch_ended(trial, {"epoch": epoch, "select_accuracy": 91.0})
    progress.trial_ended(end(trial, Outcome.COMPLETE, 91.0))
    assert "[ 3/10]" in file.getvalue()
    assert "about 1 min 10 s left" in file.getvalue()
