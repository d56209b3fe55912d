"""The first look at images that nobody has studied yet: what they are, and a study file that runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from dabo_ray.analysis.wording import duration
from dabo_ray.commands.data_words import describe_images
from dabo_ray.commands.dry_run import measured
from dabo_ray.commands.read_data import read_data
from dabo_ray.commands.suggest import Choice, Found, study_text, suggest
from dabo_ray.config.errors import ConfigError
from dabo_ray.config.file import check_study
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.decode import Decoder
from dabo_ray.data.images import DataError
from dabo_ray.data.published import Encoded
from dabo_ray.data.sources import find
from dabo_ray.data.unconverted import sizes_of
from dabo_ray.tracking.activity import Activity

WEIGHTS = "resnet18-*.pth"
"""What torchvision's downloads of ResNet-18 are called."""


def first_look(place: str, study: str, activity: Activity) -> tuple[str, str]:
    """The text of a study file for images, and what was found out, over several lines.

    Args:
        place: of the images.
        study: name of the study.
        activity: told how far it is.

    Raises:
        ConfigError: there are no images that can be studied.
    """
    activity.now(f"looking at {place}")
    try:
        found = look(place)
    except DataError as error:
        raise ConfigError(str(error)) from None
    choices = suggest(found)
    config = check_study({"study": study, **{choice.key: choice.value for choice in choices}}, "the study")
    pools, counts = read_data(config, activity)
    told = [describe_images(pools, counts, found.sizes), *_reasons(choices)]
    words = _time(config, sum(cost.trials * cost.seconds for cost in measured(config, pools, activity)))
    comment = [f"Written by python -m dabo_ray.init --images {place}, where it would take {words}."]
    return study_text(study, found, choices, comment), "\n".join([*told, f"time        {words}"])


def look(place: str) -> Found:
    """What the images at a place are.

    Raises:
        DataError: there are none, or none of them can be read.
    """
    source = _source(place)
    published = find(source, place)
    labelled, test = published.parts()
    assert isinstance(labelled, Encoded)
    counts = torch.tensor(labelled.labels).bincount(minlength=published.num_classes).tolist()
    return Found(
        place,
        source,
        dict(zip(published.classes, counts, strict=True)),
        sizes_of(labelled, Decoder(None)),
        has_test=test is not None,
        has_gpu=torch.cuda.is_available(),
        weights=_weights(),
    )


def _source(place: str) -> str:
    if place.lower().endswith(".csv"):
        return "csv"
    holds_parquet = Path(place).is_dir() and next(Path(place).rglob("*.parquet"), None) is not None
    return "parquet" if place.endswith(".parquet") or holds_parquet else "image_folder"


def _weights() -> Path | None:
    """Of ResNet-18, in this folder or where torchvision keeps its downloads."""
    places = (Path(), Path(torch.hub.get_dir()) / "checkpoints")
    return next((file for place in places for file in sorted(place.glob(WEIGHTS))), None)


def _reasons(choices: list[Choice]) -> list[str]:
    told: Mapping[str, Choice] = {choice.key: choice for choice in choices}
    data, classifier = told["data"], told["classifier"]
    side = data.value.get("image_size", "as in the files")
    return [
        f"image size  {side}: {data.reason}",
        f"classifier  {classifier.value['name']}: {classifier.reason}",
        f"search      {told['search'].reason}",
    ]


def _time(config: StudyConfig, seconds: float) -> str:
    """About how long the study takes here."""
    gpus = torch.cuda.device_count() if config.resources.gpus_per_worker else 0
    at_once = gpus or len(os.sched_getaffinity(0))
    at_once_words = "one training at a time" if at_once == 1 else f"{at_once} trainings at once"
    # Starting and scoring, which is not measured, is most of a short training.
    return f"about {duration(seconds / at_once)} of training, {at_once_words}; starting and scoring come on top"
