"""Delivery of records to a store that may be slow, away or refuse them, by a thread of its own."""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import NamedTuple

from dabo_ray.config.addresses import redact
from dabo_ray.faults import machine_fault

logger = logging.getLogger("dabo_ray")

SECONDS_BETWEEN_TRIES = 15.0
SECONDS_OF_PATIENCE_AT_CLOSE = 5.0
MAX_PASSING, SECONDS_BETWEEN_PASSING = 10, 1.0
"""A gateway that fails, or an answer that is late, is no refusal, and is tried again so often."""
MAX_REASON = 400
"""Letters that are shown of an error."""


class Delivery:
    """Takes records without waiting, and delivers them in order; no call but `close` ever waits or raises.

    While the store does not answer, records are kept and tried again. What a store that answers refuses twice is given
    up and told of.
    """

    def __init__(self, address: str, answers: Callable[[], bool]) -> None:
        """Start the thread.

        Args:
            address: Of the store, for the one warning that something could not be delivered.
            answers: Tells whether the store can be reached now.
        """
        self._address = address
        self._answers = answers
        self._lost: list[str] = []
        self._reason = ""
        self._num_done = 0
        self._warned = False
        self._closing = threading.Event()
        self._records: SimpleQueue[_Record | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow-tracker", daemon=True)
        self._thread.start()

    def put(self, what: str, call: Callable[[], None]) -> None:
        """Deliver by `call` when all before it is delivered; `what` names it where it is lost."""
        self._records.put(_Record(what, call))

    def close(self, timeout: float) -> bool:
        """Wait until everything is delivered, and tell whether it was.

        A slow store is waited for while it takes something every `timeout` seconds; one that does not answer is given
        up after a few.
        """
        if not self._closing.is_set():
            self._closing.set()
            self._records.put(None)
        done = -1
        while self._thread.is_alive() and done < self._num_done:
            done = self._num_done
            self._thread.join(timeout)
        if self._thread.is_alive():
            self._lost.append(f"whatever was still waiting when nothing had been taken for {timeout:.0f} s")
        return not self._lost

    @property
    def lost(self) -> Sequence[str]:
        """What could not be delivered, and why; complete after `close`."""
        return tuple(self._lost)

    def _work(self) -> None:
        while (record := self._records.get()) is not None:
            if not self._deliver(record):
                waiting = 1 + sum(1 for _ in iter(self._records.get, None))
                self._lost.append(f"{waiting} records, from {record.what} on: no answer ({self._reason})")
                return
            self._num_done += 1

    def _deliver(self, record: _Record) -> bool:
        """Deliver a record, or give it up if a store that answers refuses it; false if none answers at the end."""
        refusals, passing, last_try = 0, 0, math.inf
        while True:
            try:
                record.call()
                return True
            except Exception as error:
                words = machine_fault(error) or " ".join(str(error).split()) or type(error).__name__
                self._reason = redact(words)[:MAX_REASON]
            self._warn_once(record.what)
            if self._answers():
                if _PASSING.search(words) and passing < MAX_PASSING:
                    passing += 1
                    time.sleep(SECONDS_BETWEEN_PASSING)
                    continue
                refusals += 1
                if refusals == 2:
                    self._lost.append(f"{record.what}: {self._reason}")
                    return True
            elif not self._closing.wait(SECONDS_BETWEEN_TRIES):
                continue
            elif time.monotonic() > last_try:
                return False
            else:
                last_try = min(last_try, time.monotonic() + SECONDS_OF_PATIENCE_AT_CLOSE)
                time.sleep(1)

    def _warn_once(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "MLflow at %s: could not log %s (%s). The study goes on; what is not logged is tried again.",
                redact(self._address),
                what,
                self._reason,
            )


_PASSING = re.compile(r"\b(408|429|50[0234])\b|[Tt]imed out|[Cc]onnection (aborted|reset|refused)|database is locked")


class _Record(NamedTuple):
    what: str
    call: Callable[[], None]
