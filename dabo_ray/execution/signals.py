"""Ctrl-C and SIGTERM, also where Python loses them: in destructors and in callbacks of weak references."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_is_asked_for = False


@contextmanager
def remembered() -> Iterator[None]:
    """Within, Ctrl-C raises KeyboardInterrupt as ever, and `check` raises it again. For the main thread.

    Where it is ignored, or another handler deals with it, that stays so. Python does not tell of one that it loses.
    """
    global _is_asked_for
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    hook = sys.unraisablehook

    def report_others(lost: sys.UnraisableHookArgs) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            hook(lost)

    signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = report_others
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = hook
        _is_asked_for = False


@contextmanager
def handler_kept(number: signal.Signals) -> Iterator[None]:
    """Puts back, at the end, how a signal was dealt with; Ray and Tune leave handlers of their own."""
    before = signal.getsignal(number)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def deferred() -> Iterator[None]:
    """Within, one Ctrl-C waits until the end; a second one is heard at once. For what would break if it were not whole.

    Raises:
        KeyboardInterrupt: at the end, or at a second Ctrl-C.
    """
    before = signal.getsignal(signal.SIGINT)
    pressed = False

    def wait(signum: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)

    with handler_kept(signal.SIGINT):
        signal.signal(signal.SIGINT, wait)
        yield
    if pressed:
        signal.raise_signal(signal.SIGINT)


def check() -> None:
    """Where a long part begins.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, and what it raised then was lost.
    """
    if _is_asked_for:
        raise KeyboardInterrupt


def _interrupt(signum: int, frame: FrameType | None) -> None:
    global _is_asked_for
    _is_asked_for = True
    signal.default_int_handler(signum, frame)
