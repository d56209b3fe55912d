"""One driver at a time on a plan, wherever it runs; one that died is taken over."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dabo_ray.planning import driver_lock
from dabo_ray.planning.driver_lock import KEY, PlanHeldError, plan_held

HERE, THERE = Path("/here/tiny"), Path("/there/tiny")


class Memory:
    """Facts of a study without a database."""

    def __init__(self, **facts: Any) -> None:
        self.facts = facts

    def fact(self, key: str) -> Any:
        return self.facts.get(key)

    def keep_fact(self, key: str, value: Any) -> None:
        self.facts[key] = value


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_lock, "SECONDS_BETWEEN_BEATS", 0.02)
    monkeypatch.setattr(driver_lock, "SECONDS_TO_SETTLE", 0.0)


def driver(**changes: Any) -> dict[str, Any]:
    return {"id": "a", "host": "elsewhere", "pid": 17, "folder": str(THERE), "beat": 3, **changes}


def test_a_second_driver_is_refused_and_the_first_lets_go():
    facts = Memory()
    with plan_held(facts, THERE):
        told = rf"process {os.getpid()} on .*, in /there/tiny"
        with pytest.raises(PlanHeldError, match=told), plan_held(facts, HERE):
            pass
        assert facts.fact(KEY)["folder"] == str(THERE)
    assert facts.fact(KEY) is None
    with plan_held(facts, HERE):
        pass


def test_a_driver_elsewhere_that_beats_is_alive():
    facts = Memory(**{KEY: driver()})
    beats = iter(range(4, 100))

    def wait(seconds: float) -> None:
        facts.keep_fact(KEY, driver(beat=next(beats)))

    with pytest.raises(PlanHeldError, match="process 17 on elsewhere"), plan_held(facts, HERE, wait):
        pass


def test_a_driver_elsewhere_without_a_beat_is_taken_over(caplog: pytest.LogCaptureFixture):
    facts = Memory(**{KEY: driver()})
    with plan_held(facts, HERE):
        assert facts.fact(KEY)["folder"] == str(HERE)
    assert "process 17 on elsewhere, in /there/tiny, which gives no sign of life; it is taken over" in caplog.text


def test_a_driver_here_whose_process_is_gone_is_taken_over_at_once():
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    facts = Memory(**{KEY: driver(host=driver_lock.socket.gethostname(), pid=gone.pid)})
    waited: list[float] = []
    with plan_held(facts, HERE, waited.append):
        pass
    assert waited == [driver_lock.SECONDS_TO_SETTLE]


def test_of_two_that_begin_at_once_one_gives_way():
    facts = Memory()

    def other_comes(seconds: float) -> None:
        facts.keep_fact(KEY, driver())

    with pytest.raises(PlanHeldError), plan_held(facts, HERE, other_comes):
        pass
    assert facts.fact(KEY) == driver(), "its lock stays"


def test_it_beats(monkeypatch: pytest.MonkeyPatch):
    facts = Memory()
    with plan_held(facts, HERE):
        deadline = time.monotonic() + 10
        while facts.fact(KEY)["beat"] < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
