"""Ray Train worker group that stays alive across trials and takes its orders from a mailbox."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

import ray
import torch
from torch import Tensor

from dabo_ray.config.schema import ResourcesConfig
from dabo_ray.execution.worker import Answer, Order, PeerLost, Runner
from dabo_ray.workers import DistributedWorkers, Workers

POLL_SECONDS = 5.0
"""How often a waiting trial looks whether its workers are still there."""

CLOSE_SECONDS = 20.0

PEER_SECONDS = 10.0
"""A worker that leaves after an error says so in this time; one that was killed never does."""

WORKER_LOSSES = 2
"""So often Ray Train starts the workers of a group again."""

# Ray Train reads these where fit() is called. Workers answer through the mailbox, so its polls only watch over them.
TRAIN_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}


class Mailbox:
    """An actor between a trial and its workers. Orders are numbered; all workers see all of them."""

    def __init__(self) -> None:
        self._number = 0
        self._order: Order | None = None
        self._answers: dict[int, Answer] = {}
        self._changed = asyncio.Condition()

    async def post(self, order: Order | None) -> int:
        """Puts a new order in place of the last; None sends the workers home."""
        async with self._changed:
            self._number += 1
            self._order = order
            self._answers.clear()
            self._changed.notify_all()
            return self._number

    async def order_after(self, number: int) -> tuple[int, Order | None]:
        """Waits for an order newer than the given one. A restarted worker asks with 0 and gets the one in hand."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._number > number)
            return self._number, self._order

    async def answer(self, number: int, answer: Answer) -> None:
        """Leaves the answer to an order; the first failure stands."""
        async with self._changed:
            if number == self._number and not (number in self._answers and self._answers[number].failure):
                self._answers[number] = answer
                self._changed.notify_all()

    async def answer_to(self, number: int, seconds: float) -> Answer | None:
        """Waits for the answer to an order, at most so long."""
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(lambda: number in self._answers), seconds)
            except TimeoutError:
                return None
            return self._answers[number]

    async def has_failed(self, number: int, seconds: float) -> bool:
        """Whether a worker failed at an order, or the trial gave it up; waits so long for that."""

        def known() -> bool:
            return self._number > number or (number in self._answers and bool(self._answers[number].failure))

        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(known), seconds)
            except TimeoutError:
                return False
            return True


class WatchedWorkers(DistributedWorkers):
    """The workers of a trial, any of which may be gone."""

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """See `Workers.sum`.

        Raises:
            PeerLost: another worker does not take part any more.
        """
        try:
            return super().sum(tensors)
        except RuntimeError as error:
            raise PeerLost from error


class WorkersLost(Exception):
    """The workers ended with an order in hand, more often than Ray Train starts them again."""


def work(config: dict[str, Any]) -> None:
    """The training function of every Ray Train worker: orders until there are no more."""
    import ray.train.torch

    context = ray.train.get_context()
    workers = WatchedWorkers() if context.get_world_size() > 1 else Workers()
    torch.set_num_threads(config["threads"])
    runner = Runner(workers, ray.train.torch.get_device())
    mailbox, number = config["mailbox"], 0
    while True:
        number, order = ray.get(mailbox.order_after.remote(number))
        if order is None:
            return
        try:
            answer = runner.answer(order)
        except PeerLost:
            if ray.get(mailbox.has_failed.remote(number, PEER_SECONDS)):
                return
            raise
        if workers.rank == 0 or answer.failure:
            ray.get(mailbox.answer.remote(number, answer))
        if answer.renew:
            if workers.world_size > 1:
                # Those who wait for this worker's part of a sum would wait for the whole time limit.
                torch.distributed.destroy_process_group()
            return


class WorkerGroup:
    """Ray Train workers that train one trial after another, data-parallel.

    Args:
        resources: workers, and what each gets.
    """

    def __init__(self, resources: ResourcesConfig) -> None:
        import ray.train
        import ray.train.torch

        assert isinstance(resources.workers, int)
        os.environ.update(TRAIN_ENVIRONMENT)
        _pass_ray_address_to_train()
        self._mailbox = ray.remote(num_cpus=0)(Mailbox).remote()
        self._error: BaseException | None = None
        self._scratch = tempfile.TemporaryDirectory(prefix="dabo-ray-train-")
        on_gpu = resources.gpus_per_worker > 0
        self._trainer = ray.train.torch.TorchTrainer(
            work,
            train_loop_config={"mailbox": self._mailbox, "threads": resources.cpus_per_worker},
            torch_config=ray.train.torch.TorchConfig(backend="nccl" if on_gpu else "gloo"),
            scaling_config=ray.train.ScalingConfig(
                num_workers=resources.workers,
                use_gpu=on_gpu,
                resources_per_worker={
                    "CPU": resources.cpus_per_worker,
                    **({"GPU": resources.gpus_per_worker} if on_gpu else {}),
                },
            ),
            run_config=ray.train.RunConfig(
                storage_path=self._scratch.name,
                failure_config=ray.train.FailureConfig(max_failures=WORKER_LOSSES),
            ),
        )
        self._thread = threading.Thread(target=self._fit, name="worker group", daemon=True)
        self._thread.start()

    def _fit(self) -> None:
        try:
            self._trainer.fit()
        except BaseException as error:
            self._error = error

    def answer(self, order: Order) -> Answer:
        """Has the workers carry out an order.

        A worker that dies is started again by Ray Train, asks for the order in hand and goes on from the trial's
        checkpoint.

        Raises:
            WorkersLost: Ray Train gave up; a new group may do better.
        """
        number = ray.get(self._mailbox.post.remote(order))
        while True:
            # Asked before waiting, so that an answer left just before the end is still seen.
            alive = self._thread.is_alive()
            answer: Answer | None = ray.get(self._mailbox.answer_to.remote(number, POLL_SECONDS if alive else 0.1))
            if answer is not None:
                return answer
            if not alive:
                raise WorkersLost(str(self._error or "they ended without an error").splitlines()[0])

    def close(self) -> None:
        """Sends the workers home and waits until they have left."""
        ray.get(self._mailbox.post.remote(None))
        self._thread.join(CLOSE_SECONDS)
        ray.kill(self._mailbox)
        self._scratch.cleanup()


def _pass_ray_address_to_train() -> None:
    """Lets Ray Train free the resources of a group whose controller was lost when two Rays run on one machine.

    The actor of Train that does so looks for Ray by itself, ends with an error where it finds two, and nothing else
    frees the CPUs and GPUs before the study ends. Train has no option for what it passes on.
    """
    from ray.train.v2._internal import constants

    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    constants.ENV_VARS_TO_PROPAGATE.add("RAY_ADDRESS")
