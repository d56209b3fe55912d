"""The mailbox between a trial and its workers, as a plain object on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from dabo_ray.execution.worker import Answer
from dabo_ray.execution.worker_group import Mailbox

# The mailbox looks into no order.
FIRST: Any = "first order"
SECOND: Any = "second order"
DONE = Answer({"epoch": 1.0})
FAILED = Answer({}, "diverged at epoch 1, step 1")
SOON, LATE = 0.01, 30.0


def on_loop(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


def test_orders_are_numbered():
    async def scenario() -> None:
        mailbox = Mailbox()
        assert await mailbox.post(FIRST) == 1
        assert await mailbox.order_after(0) == (1, FIRST)
        assert await mailbox.post(SECOND) == 2
        assert await mailbox.order_after(1) == (2, SECOND)

    on_loop(scenario())


def test_workers_wait_for_the_next_order():
    async def scenario() -> None:
        mailbox = Mailbox()
        await mailbox.post(FIRST)
        waiting = [asyncio.create_task(mailbox.order_after(1)) for _ in range(3)]
        await asyncio.sleep(SOON)
        assert not any(task.done() for task in waiting)
        await mailbox.post(SECOND)
        assert await asyncio.gather(*waiting) == [(2, SECOND)] * 3

    on_loop(scenario())


def test_a_late_joiner_gets_the_order_in_hand():
    async def scenario() -> None:
        mailbox = Mailbox()
        for order in (FIRST, FIRST, SECOND):
            await mailbox.post(order)
        assert await mailbox.order_after(0) == (3, SECOND)

    on_loop(scenario())


def test_none_sends_everybody_home():
    async def scenario() -> None:
        mailbox = Mailbox()
        await mailbox.post(FIRST)
        waiting = asyncio.create_task(mailbox.order_after(1))
        await mailbox.post(None)
        assert await waiting == (2, None)
        assert await mailbox.order_after(0) == (2, None)

    on_loop(scenario())


@pytest.mark.parametrize("early", [True, False])
def test_an_answer_reaches_who_asked(early):
    async def scenario() -> None:
        mailbox = Mailbox()
        number = await mailbox.post(FIRST)
        asking = None if early else asyncio.create_task(mailbox.answer_to(number, LATE))
        await asyncio.sleep(SOON)
        await mailbox.answer(number, DONE)
        assert await (asking or mailbox.answer_to(number, LATE)) == DONE

    on_loop(scenario())


def test_without_an_answer_there_is_none_in_time():
    async def scenario() -> None:
        mailbox = Mailbox()
        number = await mailbox.post(FIRST)
        for _ in range(3):
            assert await mailbox.answer_to(number, SOON) is None
        await mailbox.answer(number, DONE)
        assert await mailbox.answer_to(number, SOON) == DONE

    on_loop(scenario())


def test_an_answer_to_an_old_order_is_dropped():
    async def scenario() -> None:
        mailbox = Mailbox()
        old = await mailbox.post(FIRST)
        new = await mailbox.post(SECOND)
        await mailbox.answer(old, FAILED)
        assert await mailbox.answer_to(new, SOON) is None
        await mailbox.answer(new, DONE)
        assert await mailbox.answer_to(new, SOON) == DONE

    on_loop(scenario())


@pytest.mark.parametrize("answers", [[FAILED, DONE], [DONE, FAILED], [FAILED, Answer({}, "another reason")]])
def test_the_first_failure_stands(answers):
    async def scenario() -> None:
        mailbox = Mailbox()
        number = await mailbox.post(FIRST)
        for answer in answers:
            await mailbox.answer(number, answer)
        assert await mailbox.answer_to(number, SOON) == FAILED

    on_loop(scenario())


def test_whether_somebody_failed_is_known():
    async def scenario() -> None:
        mailbox = Mailbox()
        number = await mailbox.post(FIRST)
        assert not await mailbox.has_failed(number, SOON)
        await mailbox.answer(number, DONE)
        assert not await mailbox.has_failed(number, SOON)
        await mailbox.answer(number, FAILED)
        assert await mailbox.has_failed(number, SOON)
        await mailbox.post(SECOND)
        assert await mailbox.has_failed(number, SOON), "an order that was given up"

    on_loop(scenario())
