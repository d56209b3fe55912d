"""Ctrl-C is not lost where Python ignores exceptions."""

from __future__ import annotations

import signal
import sys
import weakref
from collections.abc import Callable, Iterator

import pytest

from dabo_ray.execution import signals


class Doomed:
    """Anything that can be referred to weakly."""


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C, and so would these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def lose(work: Callable[[], object]) -> None:
    """Does it where Python ignores what it raises."""
    doomed = Doomed()
    reference = weakref.ref(doomed, lambda _: work())
    del doomed
    assert reference() is None


def test_an_interruption_that_python_ignores_is_raised_later():
    with signals.remembered():
        signals.check()
        lose(press)
        with pytest.raises(KeyboardInterrupt):
            signals.check()


def test_what_else_python_ignores_is_told(monkeypatch: pytest.MonkeyPatch):
    told: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: told.append(lost.exc_type))
    with signals.remembered():
        lose(press)
        lose(lambda: int("none"))
    assert told == [ValueError]


def test_it_is_raised_at_once_where_that_is_possible():
    with signals.remembered(), pytest.raises(KeyboardInterrupt):
        press()


def test_what_was_before_comes_back():
    with signals.remembered(), pytest.raises(KeyboardInterrupt):
        press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signals.check()


def test_a_process_that_ignores_it_still_does():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with signals.remembered():
        press()
        signals.check()


def pressed(times: int, reached: list[str]) -> None:
    with signals.deferred():
        for _ in range(times):
            press()
        reached.append("end")


@pytest.mark.parametrize(("times", "reached"), [(1, ["end"]), (2, [])])
def test_one_waits_for_the_end_of_what_must_be_whole_and_a_second_does_not(times: int, reached: list[str]):
    seen: list[str] = []
    with signals.remembered(), pytest.raises(KeyboardInterrupt):
        pressed(times, seen)
    assert seen == reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_was_deferred_is_ignored_where_it_was_before():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reached: list[str] = []
    pressed(2, reached)
    assert reached == ["end"]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
