"""Updates as CUDA graphs: what a step computes is recorded once and replayed without Python between its kernels.

A step of a small network is thousands of kernels of a few microseconds each; a GPU that is given them one by one waits
for Python most of the time. A graph is given as a whole. It reads and writes the same memory in every replay, so what
changes from step to step is copied there first: images, labels, random numbers, learning rates, the augmenter.
"""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dabo_ray.bilevel.hypergradient import Augment, InnerStep
from dabo_ray.bilevel.learner import Learner
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.sgd import Sgd, Tensors, copied, copy_each
from dabo_ray.bilevel.step import Arguments, Computed, Updates
from dabo_ray.data.loader import Batch
from dabo_ray.transfer import sent
from dabo_ray.workers import Workers

EAGER_CALLS = 3
"""Steps of a kind that are computed as usual before one is recorded: in them libraries choose and load kernels."""

MOST_GRAPHS = 8
"""Kinds of steps that are recorded; where shapes vary more than that, recording them would cost more than it spares."""


@dataclass(frozen=True)
class Recording:
    """A recorded step, with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: Tensors
    computed: Computed
    found: Tensor
    """The values of `computed.found`, one after the other."""


class GraphedUpdates(Updates):
    """Updates of a classifier on one GPU, computed by CUDA graphs; arguments, results and numbers are the same.

    Each kind of step, with its augmenter's update or without, is recorded after a few ordinary ones. What a graph
    cannot hold is computed as usual, with a warning that says why: dropout, whose masks are drawn on the CPU, several
    workers, and whatever the network does that waits for the device.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._calls: dict[Hashable, int] = {}
        self._recordings: dict[Hashable, Recording] = {}
        self._buffers: dict[str, Tensor] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._obstacle: str | None = None
        if self.workers.world_size > 1:
            self._give_up("there are several workers")

    def _compute(self, given: Arguments) -> Computed:
        if self._obstacle is None and given.step.masks is not None:
            self._give_up("the masks of dropout are drawn on the CPU")
        if self._obstacle is not None:
            return super()._compute(given)
        self._hold_buffers()
        tensors = list(_tensors(given))
        key = self._key(given, tensors)
        recording = self._recordings.get(key)
        if recording is None:
            self._calls[key] = calls = self._calls.get(key, 0) + 1
            if calls <= EAGER_CALLS or len(self._recordings) == MOST_GRAPHS:
                return super()._compute(given)
            try:
                recording = self._recordings[key] = self._record(given, tensors)
            except RuntimeError as error:
                # The first error is what stood in the way; those after it say that recording had failed.
                self._give_up(str(error.__context__ or error).strip().splitlines()[0])
                return super()._compute(given)
        return self._replay(recording, tensors)

    def _give_up(self, reason: str) -> None:
        self._obstacle = reason
        warnings.warn(f"steps are computed without CUDA graphs, more slowly: {reason}", stacklevel=2)

    def _hold_buffers(self) -> None:
        """Running statistics stay in the same memory."""
        given = self.objective.buffers
        if not self._buffers:
            self._buffers = dict(zip(given, copied(list(given.values())), strict=True))
        elif given is not self._buffers:
            copy_each(list(self._buffers.values()), list(given.values()))
        self.objective.buffers = self._buffers

    def _key(self, given: Arguments, tensors: Tensors) -> Hashable:
        """Equal for steps that do the same to the same memory."""
        return (
            given.is_due,
            self.objective.classifier.training,
            given.outer and given.outer.size,
            tuple((step.size, step.sgd.with_lr(0.0)) for step in (*given.window, given.step)),
            tuple((tensor.shape, tensor.dtype, tensor.stride()) for tensor in tensors),
            tuple(tensor.data_ptr() for tensor in (*given.weights, *given.velocity)),
        )

    def _record(self, given: Arguments, tensors: Tensors) -> Recording:
        inputs = [
            copy.requires_grad_(tensor.requires_grad) for copy, tensor in zip(copied(tensors), tensors, strict=True)
        ]
        fixed = _with_tensors(given, inputs)
        graph = torch.cuda.CUDAGraph()
        with _undisturbed(given.weights[0].device):
            try:
                # Other threads may go on to use the GPU: images are read ahead of time.
                with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                    computed = super()._compute(fixed)
                    copy_each(list(self._buffers.values()), list(self.objective.buffers.values()))
                    found = torch.stack(list(computed.found.values()))
            finally:
                self.objective.buffers = self._buffers
        return Recording(graph, inputs, computed, found)

    def _replay(self, recording: Recording, tensors: Tensors) -> Computed:
        copy_each(recording.inputs, tensors)
        recording.graph.replay()
        # The next replay writes into the same memory.
        found = dict(zip(recording.computed.found, recording.found.clone().unbind(), strict=True))
        return replace(recording.computed, found=found)


@contextlib.contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """A context in which a graph can be recorded, and that leaves no trace if recording fails.

    An older graph that is collected as garbage meanwhile would end the recording. One that fails leaves its own stream
    in use, and torch's generator as if it were still recording.
    """
    stream = torch.cuda.current_stream(device)
    generator = torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    before = generator.get_state()
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    except BaseException:
        torch.cuda.set_stream(stream)
        fresh = torch.Generator(device)
        fresh.set_state(before)
        generator.graphsafe_set_state(fresh)
        raise
    finally:
        if was_enabled:
            gc.enable()


def make_updates(
    objective: Objective, augment: Augment, learner: Learner | None, *, workers: Workers, device: torch.device
) -> Updates:
    """The updates of a training, as CUDA graphs on a GPU; arguments as of `Updates`."""
    kind = GraphedUpdates if device.type == "cuda" else Updates
    return kind(objective, augment, learner, workers=workers, device=device)


def _steps(given: Arguments) -> Iterator[tuple[InnerStep, bool]]:
    """Each step, and whether its weights are apart from those that move."""
    yield from ((step, True) for step in given.window)
    yield given.step, given.is_due and given.step.weights is not given.weights


def _tensors(given: Arguments) -> Iterator[Tensor]:
    """All tensors that may be others in the next step, in a fixed order."""
    device = given.weights[0].device
    rates = [[float(group.lr) for group in step.sgd.groups] for step, _ in _steps(given)]
    yield from sent([torch.tensor(values) for values in rates], device)
    for step, has_weights in _steps(given):
        yield from (*step.theta, step.images, step.labels, *step.params, *step.grads)
        yield from step.weights if has_weights else ()
    if given.outer is not None:
        yield from (given.outer.images, given.outer.labels)


def _with_tensors(given: Arguments, tensors: Tensors) -> Arguments:
    """The same arguments with these tensors in the places of their own."""
    left = iter(tensors)
    rates = [next(left).unbind() for _ in _steps(given)]

    def taken(count: int) -> Tensors:
        return [next(left) for _ in range(count)]

    def filled(step: InnerStep, has_weights: bool, lrs: tuple[Tensor, ...]) -> InnerStep:
        return replace(
            step,
            theta=taken(len(step.theta)),
            images=next(left),
            labels=next(left),
            params=tuple(taken(len(step.params))),
            grads=taken(len(step.grads)),
            weights=taken(len(step.weights)) if has_weights else given.weights,
            sgd=_with_rates(step.sgd, lrs),
        )

    *window, step = (
        filled(step, has_weights, lrs) for (step, has_weights), lrs in zip(_steps(given), rates, strict=True)
    )
    outer = given.outer and Batch(next(left), next(left), given.outer.size)
    return replace(given, step=step, window=window, outer=outer)


def _with_rates(sgd: Sgd, rates: tuple[Tensor, ...]) -> Sgd:
    return replace(sgd, groups=tuple(replace(group, lr=lr) for group, lr in zip(sgd.groups, rates, strict=True)))
