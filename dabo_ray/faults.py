"""Faults of the machine, told apart from those of a setting: a full disk says nothing about a learning rate."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

_DISK = "a disk is full", "free space there"
_STORAGE = "the storage fails or is gone", "look after the disk or the mount"
_MISSING = "a file is gone", "bring it back, or mount what it is on"
_RIGHTS = "the system forbids it", "give this user the right to"
_FILES = "too many files are open", "raise the limit (`ulimit -n`)"
_MEMORY = (
    "the machine is out of memory",
    "lower resources.concurrent_trials or classifier.batch_size, or give it more memory",
)
_NETWORK = "something does not answer", "look after the network and the service at its other end"
_DATABASE = "the database fails", "look after it"
_RAY = "Ray has lost a process or a node", "look after the node, its memory first"
_GPU = "a GPU fails", "look after it (`nvidia-smi`)"

_BY_NUMBER = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _DISK),
    **dict.fromkeys((errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.EREMOTEIO), _STORAGE),
    errno.ENOENT: _MISSING,
    **dict.fromkeys((errno.EACCES, errno.EPERM), _RIGHTS),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _FILES),
    **dict.fromkeys((errno.ENOMEM, errno.EAGAIN), _MEMORY),
    **dict.fromkeys(
        (
            *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.ENOTCONN),
            *(errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL),
        ),
        _NETWORK,
    ),
}
"""Of an `OSError`. A folder in a file's place, or a name that is too long, is no fault of the machine."""

_BY_NAME = {
    "ray.exceptions.OutOfMemoryError": _MEMORY,
    "ray.exceptions.OutOfDiskError": _DISK,
    "ray.exceptions.RayError": _RAY,
    "builtins.MemoryError": _MEMORY,
    "builtins.ConnectionError": _NETWORK,
    "builtins.TimeoutError": _NETWORK,
    "sqlite3.OperationalError": _DATABASE,
    "sqlalchemy.exc.OperationalError": _DATABASE,
}
"""A kind of error, also of libraries that are not imported here."""

# Libraries in C++ and Rust tell of the system's errors in words alone.
_BY_WORDS = {
    **{re.escape(os.strerror(number)): told for number, told in _BY_NUMBER.items() if number != errno.ENOENT},
    "database or disk is full": _DISK,
    "can't allocate memory": _MEMORY,
    "uncorrectable ECC|devices? (is|are) busy or unavailable|no CUDA-capable device": _GPU,
}
_WORDS = {re.compile(words): told for words, told in _BY_WORDS.items()}

# Ray's words are a page long.
_MEMORY_USED = re.compile(
    r"Memory on the node \(IP: ([^,)]+).*? was ([\d.]+ ?\w+) used / ([\d.]+ ?\w+) limit", re.DOTALL
)

MAX_LENGTH = 300
"""Of what is said of an error."""


def machine_fault(error: BaseException) -> str:
    """What is wrong with the machine, the error itself and what to do, in a line; empty if the fault is not there.

    The causes of the error count too: a library may have put an error of its own around that of the system.
    """
    for cause in _causes(error):
        if (told := _fault(cause)) is not None:
            what, remedy = told
            return f"{what} ({describe(cause)}); {remedy}"
    return ""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it is the machine's memory that is too small."""
    return any(_fault(cause) == _MEMORY for cause in _causes(error))


def describe(error: BaseException) -> str:
    """The error's kind and its words in a line."""
    if used := _memory_in_use(str(error)):
        return used
    lines = str(error).strip().splitlines() or [""]
    # Tune hands on the text of a traceback, whose last line is the error.
    words = lines[-1 if lines[0].startswith("Traceback") else 0]
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 3] + "..."


def error_in_a_task(words: str) -> str:
    """The line of the error that a task of Ray's raised; empty if its process has ended instead.

    Args:
        words: of Ray, about one failure or several; the last counts.
    """
    lines = words.rpartition("Failure # ")[2].strip().splitlines()
    places = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    if not places or "ray::" not in words:
        return ""
    return next((line for line in lines[places[-1] :] if line[:1].strip()), "")


def process_fault(words: str) -> str:
    """What is to be said of a process that has ended by itself.

    Args:
        words: of Ray, about its end.
    """
    what, remedy = _MEMORY
    used = _memory_in_use(words)
    return f"{what} ({used}); {remedy}" if used else f"a process has ended, mostly because {what}; {remedy}"


def _memory_in_use(words: str) -> str:
    """The last of Ray's reports of a node's memory in its words about ended processes; empty if there is none."""
    reports = _MEMORY_USED.findall(words)
    return "node {} had {} of {} in use, and Ray ended a process".format(*reports[-1]) if reports else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what lies behind it, the outermost first."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop(0)
        if cause is None or any(cause is other for other in seen):
            continue
        seen.append(cause)
        # `cause`: of what a task of Ray raised. `orig`: of SQLAlchemy.
        inner = [getattr(cause, name, None) for name in ("cause", "orig")]
        waiting += [found for found in inner if isinstance(found, BaseException)]
        waiting.append(cause.__cause__)
        # Tune raises an error of its own where it has caught any; what others were handling need not be the reason.
        if type(cause).__module__.startswith("ray."):
            waiting.append(cause.__context__)
    # The innermost knows best: it has the system's number.
    yield from reversed(seen)


def _fault(error: BaseException) -> tuple[str, str] | None:
    kinds = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
    # What a task raised is told by its cause.
    if "ray.exceptions.RayTaskError" in kinds:
        return None
    if isinstance(error, OSError) and error.errno is not None:
        return _BY_NUMBER.get(error.errno)
    by_name = next((_BY_NAME[kind] for kind in kinds if kind in _BY_NAME), None)
    if by_name not in (None, _DATABASE):
        return by_name
    return next((told for words, told in _WORDS.items() if words.search(str(error))), by_name)
