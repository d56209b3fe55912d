"""The other alternative to our batches of encoded images: Ray Data over the same Parquet, in smaller files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from dabo_ray.augment.functional import to_unit
from dabo_ray.benchmarks.measure import environment_restored
from dabo_ray.data.decode import Decoder
from dabo_ray.data.stream import AHEAD
from dabo_ray.execution.cluster import connected

FILES = 8
SHUFFLED = 4
"""Batches that are mixed with each other."""


def split(shards: Sequence[Path], folder: Path) -> list[Path]:
    """Writes Parquet again as smaller files: Ray Data reads each by one task, and can only so do several at once."""
    images = pa.concat_tables([pq.read_table(shard, columns=["image"]) for shard in shards])
    size = math.ceil(len(images) / FILES)
    files = [folder / f"{start:08d}.parquet" for start in range(0, len(images), size)]
    for number, file in enumerate(files):
        pq.write_table(images.slice(number * size, size), file, compression="none", use_dictionary=False)
    return files


@contextmanager
def ray_passes(
    files: Sequence[Path], decoder: Decoder, batch_size: int, cpus: Sequence[int], device: torch.device
) -> Iterator[list[Callable[[], object]]]:
    """A shuffled pass with each number of CPUs, on a Ray that ends with the context.

    Args:
        files: Parquet with a column `image` of encoded images.
        decoder: from a file to pixels.
        batch_size: a smaller last batch is left out.
        cpus: of the tasks that read and decode.
        device: where each batch is moved.
    """
    # Before Ray's messages are turned off: its import turns them on.
    import ray.data
    from ray.data import DataContext, ExecutionResources

    with environment_restored(), connected(verbose=False, dashboard=False):
        context = DataContext.get_current()
        context.enable_progress_bars = False

        def decoded(batch: dict[str, Any]) -> dict[str, Any]:
            return {"image": np.stack([decoder(content, "an image").numpy() for content in batch["image"]])}

        def one_pass(num_cpus: int) -> None:
            files_read = ray.data.read_parquet([str(file) for file in files], shuffle="files")
            images = files_read.select_columns(["image"]).map_batches(decoded, batch_size=batch_size)
            images.context.execution_options.resource_limits = ExecutionResources(cpu=num_cpus)
            batches = images.iter_torch_batches(
                batch_size=batch_size,
                prefetch_batches=AHEAD,
                local_shuffle_buffer_size=SHUFFLED * batch_size,
                drop_last=True,
                device=str(device),
            )
            for batch in batches:
                to_unit(batch["image"])

        yield [lambda num=num: one_pass(num) for num in cpus]  # type: ignore[misc]
