"""Records on their way to a store, which is played here by locks."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from dabo_ray.tracking import delivery as delivery_module
from dabo_ray.tracking.delivery import Delivery


def test_a_slow_store_is_waited_for_and_one_that_hangs_is_not() -> None:
    """By turns of the lock instead of seconds: each wait of `close` ends when the store has taken one record."""
    delivery = Delivery("a store", lambda: True)
    taken, hanging = threading.Semaphore(0), threading.Event()

    def take() -> None:
        taken.acquire()

    def hang() -> None:
        hanging.wait()

    for number in range(5):
        delivery.put(f"record {number}", take)
    delivery.put("one that hangs", hang)
    waits: list[int] = []

    def join(timeout: float) -> None:
        waits.append(delivery._num_done)
        taken.release()
        deadline = time.monotonic() + 60
        while delivery._num_done == waits[-1] and len(waits) <= 5 and time.monotonic() < deadline:
            time.sleep(0.01)

    thread = delivery._thread
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thread, "join", join)
        assert not delivery.close(timeout=1.0)
    assert waits == [0, 1, 2, 3, 4, 5]
    assert "whatever was still waiting" in delivery.lost[0]
    hanging.set()
    thread.join(60)
    assert not thread.is_alive()


def test_what_is_refused_twice_is_given_up_and_the_rest_is_delivered_in_order() -> None:
    delivered: list[int] = []
    tries: list[int] = []

    def refuse() -> None:
        tries.append(1)
        raise ValueError("not\n  this one")

    delivery = Delivery("a store", lambda: True)
    for number in range(3):
        delivery.put(f"record {number}", partial(delivered.append, number))
        delivery.put(f"refused {number}", refuse)
    assert not delivery.close(timeout=60.0)
    assert delivered == [0, 1, 2]
    assert len(tries) == 6
    assert list(delivery.lost) == [f"refused {number}: not this one" for number in range(3)]


def test_a_gateway_that_fails_for_a_while_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "SECONDS_BETWEEN_PASSING", 0.0)
    failures = iter([ConnectionError("Connection aborted"), RuntimeError("too many 502 error responses")] * 2)
    delivered: list[int] = []

    def take() -> None:
        for failure in failures:
            raise failure
        delivered.append(1)

    delivery = Delivery("a store", lambda: True)
    delivery.put("a record", take)
    assert delivery.close(timeout=60.0), delivery.lost
    assert delivered == [1]
