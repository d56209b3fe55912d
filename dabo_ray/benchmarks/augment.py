"""Batched augmentation against torchvision's image by image, and against batched ones: torchvision's and kornia's.

Both sides get a batch of uint8 images that lies on the device and give floating point images in [0, 1] there; drawing,
converting and, for torchvision, stacking are part of it. For a GPU torchvision works as it does in training: image by
image in the processes of a DataLoader, of images that lie on the CPU. Applied to a batch it draws once for all of its
images, and so do kornia's policies, which is less work and another distribution: their rows say so. Torchvision works
on uint8, kornia on floats. A case is called several times in a row and the mean is taken: batch after batch, as in
training, not with caches and heap as the other side has left them.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, v2

from dabo_ray.augment.augmix import AugMix
from dabo_ray.augment.autoaugment import AutoAugment
from dabo_ray.augment.color_jitter import ColorJitter
from dabo_ray.augment.erasing import RandomErasing
from dabo_ray.augment.fixed import FixedAugmentation
from dabo_ray.augment.functional import to_unit
from dabo_ray.augment.geometric import FlipCrop, RandomAffine
from dabo_ray.augment.randaugment import RandAugment, TrivialAugmentWide
from dabo_ray.benchmarks.measure import (
    BenchmarkOptions,
    BenchmarkResult,
    PerformanceBudget,
    Row,
    rows_of,
    time_side_by_side,
)

BATCH = 512
SIDE = 32
CALLS = 8
"""Of a case in each round."""

PROCESSES = 8
"""Of the DataLoader."""

SPEED_UP = 10
"""Of TrivialAugment over torchvision's, at least."""

Pair = tuple[FixedAugmentation, Callable[[Tensor], Tensor]]

PAIRS: dict[str, Pair] = {
    "flip_crop": (FlipCrop(), v2.Compose([v2.RandomCrop(SIDE, padding=4), v2.RandomHorizontalFlip()])),
    "affine": (RandomAffine(), v2.RandomAffine(15, (0.1, 0.1), (0.9, 1.1), interpolation=InterpolationMode.BILINEAR)),
    "color_jitter": (ColorJitter(hue=0.1), v2.ColorJitter(0.4, 0.4, 0.4, 0.1)),
    "random_erasing": (RandomErasing(), v2.RandomErasing()),
    "autoaugment": (AutoAugment("cifar10"), v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)),
    "randaugment": (RandAugment(), v2.RandAugment()),
    "trivialaugment": (TrivialAugmentWide(), v2.TrivialAugmentWide()),
    "augmix": (AugMix(), v2.AugMix()),
}
"""Baseline -> ours and torchvision's."""

DRAWN_PER_BATCH = ("autoaugment", "randaugment", "trivialaugment")
"""Baselines whose operations kornia draws once for a whole batch."""


def run(options: BenchmarkOptions, batch: int = BATCH) -> BenchmarkResult:
    """Images per second."""
    images = torch.randint(0, 256, (batch, 3, SIDE, SIDE), dtype=torch.uint8).to(options.device)
    rows: list[Row] = []
    speed_up = 0.0
    for name, pair in PAIRS.items():
        samples = time_side_by_side(dict(_cases(name, pair, images)), options)
        per_second = {case: [CALLS * batch / seconds for seconds in times] for case, times in samples.items()}
        of_pair = rows_of(per_second, f"{name}, torchvision", "per_second")
        if name == "trivialaugment":
            speed_up = next(row.ratio for row in of_pair if row.name == name)
        rows += of_pair
    budget = PerformanceBudget(
        "batched TrivialAugment / torchvision's image by image", speed_up, SPEED_UP, at_least=True
    )
    return BenchmarkResult("augment", rows, [budget])


def _repeat(call: Callable[[], Tensor]) -> None:
    for _ in range(CALLS):
        call()


def _cases(name: str, pair: Pair, images: Tensor) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each makes `CALLS` batches."""
    ours, theirs = pair
    generator = torch.Generator().manual_seed(0)
    if images.is_cuda:
        yield f"{name}, torchvision", partial(_load, _loader(images, theirs), images.device)
    else:
        yield (
            f"{name}, torchvision",
            partial(_repeat, lambda: to_unit(torch.stack([theirs(image) for image in images]))),
        )
    yield name, partial(_repeat, lambda: ours.apply_uint8(images, ours.draw(len(images), generator)))
    yield f"{name}, torchvision, one draw a batch", partial(_repeat, lambda: to_unit(theirs(images)))
    if kornia := kornia_of(name):
        words = "kornia, one draw a batch" if name in DRAWN_PER_BATCH else "kornia"
        yield f"{name}, {words}", partial(_repeat, lambda: kornia(to_unit(images)))


class _Transformed(Dataset[Tensor]):
    """Images of the CPU, each transformed when it is asked for, `CALLS` times over."""

    def __init__(self, images: Tensor, transform: Callable[[Tensor], Tensor]) -> None:
        self.images, self.transform = images.cpu(), transform

    def __len__(self) -> int:
        return CALLS * len(self.images)

    def __getitem__(self, row: int) -> Tensor:
        return self.transform(self.images[row % len(self.images)])


def _loader(images: Tensor, transform: Callable[[Tensor], Tensor]) -> DataLoader[Tensor]:
    return DataLoader(
        _Transformed(images, transform),
        batch_size=len(images),
        num_workers=PROCESSES,
        persistent_workers=True,
        pin_memory=True,
    )


def _load(loader: DataLoader[Tensor], device: torch.device) -> None:
    for batch in loader:
        to_unit(batch.to(device, non_blocking=True))


def kornia_of(name: str) -> Callable[[Tensor], Tensor] | None:
    """Kornia's transform of this name, of a float batch in [0, 1]; None if it has none or is not installed."""
    if importlib.util.find_spec("kornia") is None:
        return None
    kornia = importlib.import_module("kornia.augmentation")
    makers: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
        "flip_crop": lambda: kornia.AugmentationSequential(
            kornia.RandomCrop((SIDE, SIDE), padding=4), kornia.RandomHorizontalFlip()
        ),
        "affine": lambda: kornia.RandomAffine(15, (0.1, 0.1), (0.9, 1.1), p=1.0),
        "color_jitter": lambda: kornia.ColorJitter(0.4, 0.4, 0.4, 0.1, p=1.0),
        "random_erasing": lambda: kornia.RandomErasing(p=0.5),
        "autoaugment": lambda: kornia.auto.AutoAugment("cifar10"),
        "randaugment": lambda: kornia.auto.RandAugment(2, 9),
        "trivialaugment": lambda: kornia.auto.TrivialAugment(),
    }
    return makers[name]() if name in makers else None
