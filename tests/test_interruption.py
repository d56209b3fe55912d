"""Ctrl-C is not lost where Python ignores exceptions."""

from __future__ import annotations

import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator

import pytest

from dabo_ray import interruption


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
    with interruption.remembered():
        interruption.check()
        lose(press)
        with pytest.raises(KeyboardInterrupt):
            interruption.check()


def test_what_else_python_ignores_is_told(monkeypatch: pytest.MonkeyPatch):
    told: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: told.append(lost.exc_type))
    with interruption.remembered():
        lose(press)
        lose(lambda: int("none"))
    assert told == [ValueError]


def test_it_is_raised_at_once_where_that_is_possible():
    with interruption.remembered(), pytest.raises(KeyboardInterrupt):
        press()


def test_what_was_before_comes_back():
    with interruption.remembered(), pytest.raises(KeyboardInterrupt):
        press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    interruption.check()


def test_a_process_that_ignores_it_still_does():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruption.remembered():
        press()
        interruption.check()


def pressed(times: int, reached: list[str]) -> None:
    with interruption.deferred():
        for _ in range(times):
            press()
        reached.append("end")


@pytest.mark.parametrize(("times", "reached"), [(1, ["end"]), (2, [])])
def test_one_waits_for_the_end_of_what_must_be_whole_and_a_second_does_not(times: int, reached: list[str]):
    seen: list[str] = []
    with interruption.remembered(), pytest.raises(KeyboardInterrupt):
        pressed(times, seen)
    assert seen == reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_command_that_is_interrupted_says_so_and_ends_with_130(capsys: pytest.CaptureFixture[str]):
    def command() -> int:
        press()
        return 0

    assert interruption.exit_code_of(command) == 130
    assert capsys.readouterr().err == "Interrupted.\n"
    assert interruption.exit_code_of(lambda: 2) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("of_ctrl_c", [signal.default_int_handler, signal.SIG_IGN])
def test_a_terminated_command_ends_as_after_ctrl_c(of_ctrl_c: signal.Handlers, capsys: pytest.CaptureFixture[str]):
    def command() -> int:
        signal.raise_signal(signal.SIGTERM)
        return 0

    signal.signal(signal.SIGINT, of_ctrl_c)
    before = signal.getsignal(signal.SIGTERM)
    assert interruption.exit_code_of(command) == 130
    assert capsys.readouterr().err == "Interrupted.\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_one_that_was_deferred_is_ignored_where_it_was_before():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reached: list[str] = []
    pressed(2, reached)
    assert reached == ["end"]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize("name", ["study", "prepare", "report", "bench"])
def test_no_command_answers_ctrl_c_with_a_traceback(name: str):
    interrupted = f"""
import argparse, runpy
def parse(*_):
    raise KeyboardInterrupt
argparse.ArgumentParser.parse_args = parse
runpy.run_module("dabo_ray.{name}", run_name="__main__")
"""
    ended = subprocess.run([sys.executable, "-c", interrupted], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "Interrupted.\n")
