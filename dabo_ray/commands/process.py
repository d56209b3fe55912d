"""Process of a command: its exit code, and how it ends by Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from enum import IntEnum
from types import FrameType

from dabo_ray.execution.signals import handler_kept, remembered
from dabo_ray.faults import machine_fault


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    """The study ended without an answer, a fault of the machine left something to --resume, or a benchmark missed a
    budget."""

    BAD_INPUT = 2
    """Nothing was begun: the file, an option, the data or the cluster must be changed."""

    INTERRUPTED = 130
    """By Ctrl-C; what ended is kept."""


def exit_code_of(main: Callable[[], int]) -> int:
    """What a command ends with.

    After Ctrl-C or a SIGTERM it tells so in one line, and ends with 130; after a fault of the machine, as a full disk,
    in two, and with 1.

    Args:
        main: the command; returns its exit code.
    """
    with remembered(), handler_kept(signal.SIGTERM):
        signal.signal(signal.SIGTERM, _as_ctrl_c)
        try:
            code = main()
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            code = ExitCode.INTERRUPTED
        except Exception as error:
            if not (fault := machine_fault(error)):
                raise
            print(f"Stopped by a fault of the machine: {fault}.", file=sys.stderr)
            print("When that is mended, give the command again; a study goes on with --resume.", file=sys.stderr)
            code = ExitCode.FAILED
    # Python ends by the signal, whatever code it is given, if Ctrl-C fell into an exec of text, as where a dataclass is
    # made; the next such exec makes it forget.
    exec("")
    return code


def _as_ctrl_c(_: int, frame: FrameType | None) -> None:
    """Whoever deals with Ctrl-C deals with SIGTERM; where Ctrl-C is ignored, as in a job in the background, Python."""
    handler = signal.getsignal(signal.SIGINT)
    (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)
