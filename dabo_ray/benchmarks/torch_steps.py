"""Steps as one writes them with torch alone, for benchmarks to compare with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dabo_ray.augment.functional import to_unit
from dabo_ray.bilevel.training import Training

Precision = Literal["float32", "bfloat16"]


def torch_step(training: Training, precision: Precision = "float32") -> Callable[[], None]:
    """What PyTorch's tutorials have: a step of torch.optim.SGD on the training's images, not augmented."""
    net = training.objective.classifier
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)

    def step() -> None:
        batch = training.fit[0]
        optimizer.zero_grad()
        _loss(training, to_unit(batch.images), batch.labels, precision).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def graphed_torch_step(training: Training, precision: Precision) -> Callable[[], None]:
    """The same as a CUDA graph with torch's fused SGD, as one would write it by hand for this network and batch."""
    net = training.objective.classifier
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=True)
    first = training.fit[0]
    images, labels = to_unit(first.images), first.labels.clone()

    def compute() -> None:
        optimizer.zero_grad(set_to_none=False)
        _loss(training, images, labels, precision).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            compute()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        compute()

    def step() -> None:
        batch = training.fit[0]
        images.copy_(to_unit(batch.images))
        labels.copy_(batch.labels)
        graph.replay()
        # The graph writes into its momentum, which must live as long.
        assert optimizer.state

    return step


def _loss(training: Training, images: Tensor, labels: Tensor, precision: Precision) -> Tensor:
    device = images.device.type
    with torch.autocast(device, torch.bfloat16, cache_enabled=False) if precision == "bfloat16" else nullcontext():
        scores = training.objective.classifier(images)
    return cross_entropy(scores.float(), labels)
