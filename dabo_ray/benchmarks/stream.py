"""Batches of encoded images, decoded by threads ahead of time, against a DataLoader over the files, and Ray Data."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torchvision import datasets
from torchvision.transforms import v2

from dabo_ray.augment.functional import to_unit
from dabo_ray.benchmarks.measure import BenchmarkOptions, BenchmarkResult, rows_of, time_side_by_side
from dabo_ray.benchmarks.ray_loader import ray_passes, split
from dabo_ray.benchmarks.torch_loader import passes
from dabo_ray.data.decode import Decoder
from dabo_ray.data.loader import Batches
from dabo_ray.data.sources import Reading, load
from dabo_ray.workers import Workers

NUM_IMAGES, NUM_CLASSES = 2048, 4
WIDTH, HEIGHT, SIDE = 500, 375, 224
"""A usual photo of ImageNet, and what a classifier sees of it."""

BATCH = 64
PARALLEL = (1, 2)
"""Threads that decode, and worker processes of the DataLoader."""


def run(options: BenchmarkOptions) -> BenchmarkResult:
    """Images per second of one shuffled pass, as floating point on the device."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        options.show_progress(f"writing {NUM_IMAGES} photos")
        write_images(root / "images")
        cases: dict[str, Callable[[], object]] = {}
        # Pillow resizes here as there: on tensors another algorithm would be compared.
        transform = v2.Compose(
            [v2.Resize(SIDE), v2.CenterCrop(SIDE), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
        )
        images = datasets.ImageFolder(str(root / "images"), transform)
        ours = [_batches(root, parallel, options.device) for parallel in PARALLEL]
        files = split(sorted((root / "cache").rglob("*.parquet")), root)
        with (
            passes(images, BATCH, PARALLEL, options.device) as loaders,
            ray_passes(files, Decoder(SIDE), BATCH, PARALLEL, options.device) as of_ray,
        ):
            for parallel, loader, ray_pass, batches in zip(PARALLEL, loaders, of_ray, ours, strict=True):
                cases[f"DataLoader, ImageFolder, {parallel} workers"] = loader
                cases[f"batches from shards, {parallel} threads"] = lambda batches=batches: _take(batches)  # type: ignore[misc]
                cases[f"Ray Data, {parallel} CPUs"] = ray_pass
            seconds = time_side_by_side(cases, options)
    seen = NUM_IMAGES // BATCH * BATCH
    speeds = {name: [seen / each for each in values] for name, values in seconds.items()}
    groups = [list(speeds)[first : first + 3] for first in range(0, len(speeds), 3)]
    rows = [row for names in groups for row in rows_of({name: speeds[name] for name in names}, names[0], "per_second")]
    return BenchmarkResult("stream", rows)


def write_images(folder: Path) -> None:
    """A tree of smooth random JPEG files, about as large as ImageNet's."""
    generator = torch.Generator().manual_seed(0)
    for number in range(NUM_IMAGES):
        coarse = torch.rand((1, 3, HEIGHT // 8, WIDTH // 8), generator=generator)
        pixels = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bilinear")[0]
        image = Image.fromarray((255 * pixels).to(torch.uint8).permute(1, 2, 0).contiguous().numpy())
        content = io.BytesIO()
        image.save(content, "jpeg", quality=90)
        path = folder / f"class{number % NUM_CLASSES}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.getvalue())


def _batches(root: Path, threads: int, device: torch.device) -> Batches:
    """Batches whose images are decoded by so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        reading = Reading(cache=str(root / "cache"), image_size=SIDE, streaming=True)
        return Batches(load("image_folder", root / "images", reading).labelled, BATCH, 0, Workers(), device)
    finally:
        torch.set_num_threads(before)


def _take(batches: Batches) -> None:
    for number in range(len(batches)):
        to_unit(batches[number].images)
