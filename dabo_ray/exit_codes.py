"""What the commands tell the shell."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    """The study ended without an answer, or a benchmark missed a budget."""

    BAD_INPUT = 2
    """Nothing was begun: the file, an option, the data or the cluster must be changed."""

    INTERRUPTED = 130
    """By Ctrl-C; what ended is kept."""
