"""Batches from the cache against a torch DataLoader over the published files, and the memory of ten processes."""

from __future__ import annotations

import gzip
import multiprocessing
import shutil
import statistics
import tempfile
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch
from torch.utils.data import Subset
from torchvision import datasets
from torchvision.transforms import ToTensor

from dabo_ray.augment.functional import to_unit
from dabo_ray.benchmarks.measure import (
    BenchmarkOptions,
    BenchmarkResult,
    PerformanceBudget,
    Row,
    rows_of,
    time_side_by_side,
)
from dabo_ray.benchmarks.torch_loader import passes
from dabo_ray.data.idx import DEBIAN_FASHION_MNIST, NAMES
from dabo_ray.data.loader import Batches
from dabo_ray.data.sources import Reading, load
from dabo_ray.workers import Workers

NUM_IMAGES = 60_000
"""Of the made-up set that stands in for Fashion-MNIST where that is not installed."""

BATCH, NUM_BATCHES = 128, 100
PROCESSES = 10
WORKERS = (0, 2)
"""Of the DataLoader."""

FASTER, ONCE = 10.0, 1.5


def run(options: BenchmarkOptions) -> BenchmarkResult:
    """Images per second of shuffled batches as floating point on the device, and PSS over the size of the data set."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_published(root / "FashionMNIST" / "raw")
        reading = Reading(cache=str(root / "cache"))
        images = load("fashion_mnist", root, reading).labelled
        size = images.images.numel() / 2**20
        options.show_progress(f"memory of {PROCESSES} processes")
        # Processes are forked, so before any thread is started.
        pss = memory_of_processes(
            lambda: _pass_over(root, reading, 1), lambda: _pass_over(root, reading, NUM_IMAGES // BATCH)
        )
        published = datasets.FashionMNIST(str(root), transform=ToTensor())
        subset = Subset(published, range(min(len(published), BATCH * NUM_BATCHES)))
        with passes(subset, BATCH, WORKERS, options.device) as loaders:
            names = [f"DataLoader, torchvision, {workers} workers" for workers in WORKERS]
            cases = dict(zip(names, loaders, strict=True))
            batches = Batches(images, BATCH, 0, Workers(), options.device)
            seconds = time_side_by_side({**cases, "batches from the cache": lambda: _take(batches)}, options)
    speeds = {name: [BATCH * NUM_BATCHES / each for each in values] for name, values in seconds.items()}
    rows = rows_of(speeds, next(iter(speeds)), "per_second")
    ours, best = rows[-1], max(rows[:-1], key=lambda row: row.value)
    memory = [
        Row("the data set", "mib", size, 1.0),
        Row(f"{PROCESSES} processes that read all of it, PSS", "mib", pss, pss / size),
    ]
    against_best = statistics.median(a / b for a, b in zip(speeds[ours.name], speeds[best.name], strict=True))
    budgets = [
        PerformanceBudget("batches from the cache / the faster DataLoader", against_best, FASTER, at_least=True),
        PerformanceBudget(f"memory of {PROCESSES} processes / size of the data set", pss / size, ONCE),
    ]
    return BenchmarkResult("data", [*rows, *memory], budgets)


def write_published(folder: Path) -> None:
    """Fashion-MNIST's four idx files, unpacked as torchvision wants them; made up if Debian's package is missing."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for name in NAMES:
        if (packed := DEBIAN_FASHION_MNIST / f"{name}.gz").is_file():
            with gzip.open(packed) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)
            continue
        num = NUM_IMAGES if name.startswith("train") else NUM_IMAGES // 6
        shape = (num, 28, 28) if "images" in name else (num,)
        values = torch.randint(0, 256 if "images" in name else 10, shape, dtype=torch.uint8, generator=generator)
        header = bytes([0, 0, 8, len(shape)]) + b"".join(side.to_bytes(4, "big") for side in shape)
        (folder / name).write_bytes(header + values.numpy().tobytes())


def _take(batches: Batches) -> None:
    for number in range(NUM_BATCHES):
        to_unit(batches[number].images)


def _pass_over(root: Path, reading: Reading, num_batches: int) -> object:
    """The first batches of a pass; what is returned keeps the data set open."""
    batches = Batches(load("fashion_mnist", root, reading).labelled, BATCH, 0, Workers(), torch.device("cpu"))
    for number in range(num_batches):
        to_unit(batches[number].images)
    return batches


def memory_of_processes(before: Callable[[], object], work: Callable[[], object]) -> float:
    """MiB that processes which all do the same work take beyond what they took before, by proportional set size.

    A page that n processes map counts 1 / n for each of them.

    Args:
        before: done first, so that what code and interpreter take is not counted; what it returns is dropped.
        work: what it returns is held while memory is measured.
    """
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(PROCESSES), context.SimpleQueue()
    processes = [context.Process(target=_measured, args=(before, work, barrier, queue)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    taken = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    return float(sum(taken))


def _measured(
    before: Callable[[], object], work: Callable[[], object], barrier: Barrier, queue: SimpleQueue[float]
) -> None:
    before()
    barrier.wait()
    first = _pss()
    barrier.wait()
    held = work()
    barrier.wait()
    second = _pss()
    barrier.wait()
    del held
    queue.put(second - first)


def _pss() -> float:
    """MiB of this process."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
