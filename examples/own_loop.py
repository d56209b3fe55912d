"""Learned augmentation in a training loop of one's own: handwritten digits that are turned when it counts.

The training images stand upright; the outer images, a few hundred with labels, and the test images are turned by up to
45 degrees. The augmenter finds that out. Needs scikit-learn, which brings the images; ends within half a minute.

Run: python examples/own_loop.py
"""

from __future__ import annotations

import argparse
from itertools import cycle

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms.v2.functional import InterpolationMode, rotate

import dabo_ray

EPOCHS, BATCH_SIZE = 60, 64


def turned(images: Tensor, generator: torch.Generator) -> Tensor:
    angles = torch.empty(len(images)).uniform_(-45, 45, generator=generator)
    pairs = zip(images, angles.tolist(), strict=True)
    return torch.stack([rotate(image, angle, InterpolationMode.BILINEAR) for image, angle in pairs])


def digits(seed: int) -> list[TensorDataset]:
    """Upright training images, turned outer images, turned test images; in [0, 1]."""
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(data.target)
    generator = torch.Generator().manual_seed(seed)
    train, outer, test = torch.randperm(len(labels), generator=generator).split([900, 300, 597])
    return [
        TensorDataset(images[train], labels[train]),
        TensorDataset(turned(images[outer], generator), labels[outer]),
        TensorDataset(turned(images[test], generator), labels[test]),
    ]


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    images, labels = data.tensors
    model.eval()
    with torch.no_grad():
        return 100 * (model(images).argmax(1) == labels).float().mean().item()


def train(model: nn.Module, seed: int, train_data: TensorDataset, outer_data: TensorDataset | None) -> None:
    """An ordinary loop; with outer images the augmentation is learned, and the rest stays as it is."""
    loader = DataLoader(train_data, BATCH_SIZE, shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    total_steps = EPOCHS * len(loader)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total_steps)
    if outer_data is not None:
        augmenter = dabo_ray.AffineAugmenter()
        trainer = dabo_ray.BilevelStep(model, optimizer, augmenter, total_steps=total_steps, seed=seed)
        outer_batches = cycle(DataLoader(outer_data, BATCH_SIZE, shuffle=True, drop_last=True))
    for _ in range(EPOCHS):
        model.train()
        for images, labels in loader:
            if outer_data is not None:
                trainer.step(images, labels, *next(outer_batches))
            else:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
            scheduler.step()
    if outer_data is not None:
        dabo_ray.save(augmenter, "augmenter.safetensors")
        print(f"learned: {dabo_ray.load('augmenter.safetensors').describe()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    train_data, outer_data, test_data = digits(seed)
    for name, outer in (("plain", None), ("learned", outer_data)):
        torch.manual_seed(seed)
        model = network()
        train(model, seed, train_data, outer)
        print(f"{name}: {accuracy(model, test_data):.1f} % of the turned test images")


if __name__ == "__main__":
    main()
