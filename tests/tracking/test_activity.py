"""What a person sees of reading, measuring and writing, on a terminal and in a file."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from dabo_ray.tracking.activity import Activity, beating


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_in_a_file_there_is_a_line_from_the_first_second_and_then_every_ten(clock: Clock) -> None:
    file = io.StringIO()
    activity = Activity("loading torch", console=Console(file=file), clock=clock)
    for second in range(35):
        activity.tick()
        if second == 2:
            activity.now("reading digits")
        if second >= 2:
            activity.count(second - 2, 132)
        clock.now += 1
    assert file.getvalue().splitlines() == [
        "loading torch, 1.0 s",
        "reading digits: 7 of 132, 8.0 s, about 2 min 23 s left",
        "reading digits: 16 of 132, 17.0 s, about 2 min 3 s left",
        "reading digits: 25 of 132, 26.0 s, about 1 min 51 s left",
    ]


def test_what_takes_no_second_is_not_told_of(clock: Clock) -> None:
    file = io.StringIO()
    with Activity("reading", console=Console(file=file), clock=clock) as activity:
        clock.now += 0.9
        activity.tick()
    assert not file.getvalue()


def test_every_part_is_timed_by_itself(clock: Clock) -> None:
    activity = Activity("reading", console=Console(file=io.StringIO()), clock=clock)
    for done in range(1, 101):
        clock.now += 1
        activity.count(done, 100)
    for done in range(1, 11):
        clock.now += 1
        activity.count(done, 20)
    assert activity.describe() == "reading: 10 of 20, 9.0 s, about 9.0 s left"


def test_on_a_terminal_a_line_changes_and_goes(clock: Clock) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, color_system=None)
    with Activity("reading", console=console, clock=clock):
        pass
    shown = file.getvalue()
    assert "reading, 0.0 s" in shown
    assert shown.endswith("\x1b[2K"), "the line is taken away"


def test_a_thread_beats_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dabo_ray.tracking.activity.BEAT_SECONDS", 0.01)
    beats: list[int] = []
    with beating(lambda: beats.append(1)):
        deadline = time.monotonic() + 10
        while len(beats) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(beats) >= 3
