"""Lock on a plan in its database: one driver at a time, also from another folder or another machine."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

SECONDS_BETWEEN_BEATS = 5.0
"""In which a driver that lives shows it."""

SECONDS_TO_SETTLE = 1.0
"""In which two drivers that begin at once see each other."""

KEY = "driver"

_LOG = logging.getLogger("dabo_ray")


class PlanHeldError(Exception):
    """Another driver runs the study; says which."""


class Facts(Protocol):
    """What is kept about a study as a whole, see `TrialStore`."""

    def fact(self, key: str) -> Any:
        """Something kept, or None."""

    def keep_fact(self, key: str, value: Any) -> None:
        """Keeps something."""


@contextmanager
def plan_held(facts: Facts, folder: Path, wait: Callable[[float], object] = time.sleep) -> Iterator[None]:
    """Holds the plan for a driver; one whose driver gives no sign of life is taken over, which is told.

    Args:
        facts: of the study, in the database.
        folder: the study's, as this driver sees it.
        wait: for so many seconds.

    Raises:
        PlanHeldError: another driver gives signs of life.
    """
    _check_free(facts, wait)
    own = {"id": uuid.uuid4().hex, "host": socket.gethostname(), "pid": os.getpid(), "folder": str(folder), "beat": 0}
    facts.keep_fact(KEY, own)
    wait(SECONDS_TO_SETTLE)
    if (other := facts.fact(KEY)) and other["id"] != own["id"]:
        raise PlanHeldError(_describe(other))
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(facts, own, ended), name="driver lock", daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        _keep(facts, None)


def _check_free(facts: Facts, wait: Callable[[float], object]) -> None:
    if (other := facts.fact(KEY)) is None:
        return
    is_here = other["host"] == socket.gethostname()
    if not (is_here and not _is_alive(other["pid"])):
        # Clocks of machines differ; that a beat follows another does not depend on them.
        for _ in range(3):
            wait(SECONDS_BETWEEN_BEATS)
            if (now := facts.fact(KEY)) is None:
                return
            if now != other:
                raise PlanHeldError(_describe(now))
    _LOG.warning("The study was being run by %s, which gives no sign of life; it is taken over.", _describe(other))


def _beat(facts: Facts, own: dict[str, Any], ended: threading.Event) -> None:
    beat = 0
    while not ended.wait(SECONDS_BETWEEN_BEATS):
        beat += 1
        _keep(facts, {**own, "beat": beat})


def _keep(facts: Facts, value: dict[str, Any] | None) -> None:
    try:
        facts.keep_fact(KEY, value)
    except Exception as error:
        # Whoever trains will hear of a database that is gone.
        _LOG.debug("the driver lock could not be written: %s", error)


def _describe(other: dict[str, Any]) -> str:
    return f"process {other['pid']} on {other['host']}, in {other['folder']}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
