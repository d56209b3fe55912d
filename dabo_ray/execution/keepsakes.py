"""What is kept of a trial that has trained to its end, beside its records: its network and its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from dabo_ray.assembly.augmentation import LEARNING, RANDOM
from dabo_ray.augment import export
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.frozen import FrozenAugmenter
from dabo_ray.augment.functional import to_unit
from dabo_ray.bilevel.training import Training
from dabo_ray.config.schema import StudyConfig
from dabo_ray.reporting.samples import prediction_grid, sample_grid
from dabo_ray.seeds import derive
from dabo_ray.storage.layout import TrialFolder
from dabo_ray.trials import Phase, Trial

SAMPLE_ROWS, SAMPLE_COLUMNS = 8, 7
"""Images, and augmented versions of each, in the picture of a learned augmenter."""


def keep_pictures_and_network(training: Training, study: StudyConfig, trial: Trial, folder: TrialFolder) -> None:
    """Writes the augmenter that is the trial's own, learned or not, its picture, and what a segmentation predicts.

    What an earlier process wrote stays.
    """
    augmentation = training.augmentation
    augmenter = augmentation.augmenter if isinstance(augmentation, FrozenAugmenter) else augmentation
    # That of a frozen trial, or of a file, is kept where it comes from.
    if isinstance(augmenter, Augmenter) and trial.method in (*LEARNING, RANDOM):
        if not folder.augmenter.exists():
            origin = {"study": study.study, "trial": trial.name, "data": study.data.label, "seed": trial.seed}
            export.save(augmenter, folder.augmenter, description={**origin, "settings": dict(trial.settings)})
        if not folder.samples.exists():
            draw_samples(augmenter, training, folder.samples)
    if study.task == "segmentation" and trial.phase is Phase.FINAL and not folder.predictions.exists():
        draw_predictions(training, folder.predictions)


@torch.no_grad()
def draw_samples(augmenter: Augmenter, training: Training, path: Path) -> None:
    """Draws training images beside what the augmenter makes of them."""
    batch = training.fit[0]
    images = batch.images[:SAMPLE_ROWS]
    levels = images.repeat_interleave(SAMPLE_COLUMNS, 0)
    generator = torch.Generator().manual_seed(derive(training.seed, "samples"))
    labels = batch.labels[:SAMPLE_ROWS].repeat_interleave(SAMPLE_COLUMNS, 0)
    drawn = [part.to(levels.device) for part in augmenter.draw(len(levels), generator)]
    base = training.inputs.base
    rows = base.apply_uint8(levels, base.draw(len(levels), generator))
    augmented = augmenter(rows, *drawn, *augmenter.context(rows, labels))
    tiles = _as_bytes(augmented).reshape(len(images), SAMPLE_COLUMNS, *_hwc(images))
    sample_grid(_as_bytes(to_unit(images)), tiles, path)


@torch.no_grad()
def draw_predictions(training: Training, path: Path) -> None:
    """Draws images that the classifier is judged by, from all of them, beside their masks and what it says."""
    images = training.score
    places = torch.linspace(0, len(images) - 1, min(SAMPLE_ROWS, len(images))).long()
    pixels = to_unit(images.read(places)).to(training.device)
    training.objective.classifier.eval()
    said = training.objective.scores(training.weights, pixels).argmax(1)
    prediction_grid(_as_bytes(pixels), images.read_masks(places).numpy(), said.to(torch.uint8).cpu().numpy(), path)


def _hwc(images: torch.Tensor) -> tuple[int, int, int]:
    _, channels, height, width = images.shape
    return height, width, channels


def _as_bytes(images: torch.Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pixels: np.ndarray[Any, np.dtype[np.uint8]] = (
        images.mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    )
    return pixels
