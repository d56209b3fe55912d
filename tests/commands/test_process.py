"""A command that is interrupted says so in one line and ends with 130."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dabo_ray.commands.process import exit_code_of


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C, and so would these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_a_command_that_is_interrupted_says_so_and_ends_with_130(capsys: pytest.CaptureFixture[str]):
    def command() -> int:
        press()
        return 0

    assert exit_code_of(command) == 130
    assert capsys.readouterr().err == "Interrupted.\n"
    assert exit_code_of(lambda: 2) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("of_ctrl_c", [signal.default_int_handler, signal.SIG_IGN])
def test_a_terminated_command_ends_as_after_ctrl_c(of_ctrl_c: signal.Handlers, capsys: pytest.CaptureFixture[str]):
    def command() -> int:
        signal.raise_signal(signal.SIGTERM)
        return 0

    signal.signal(signal.SIGINT, of_ctrl_c)
    before = signal.getsignal(signal.SIGTERM)
    assert exit_code_of(command) == 130
    assert capsys.readouterr().err == "Interrupted.\n"
    assert signal.getsignal(signal.SIGTERM) is before


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
