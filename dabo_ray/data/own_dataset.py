"""A map-style data set of a user's own code: a sequence of (image, label)."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dabo_ray.data.images import DataError
from dabo_ray.data.labels import Label, number_classes, numbering_note
from dabo_ray.data.published import Encoded, Published, fingerprint
from dabo_ray.importing import ImportedError, imported

KEY = "data.import"
NUM_PROBES = 64
"""Items whose pixels tell whether the data set has changed, evenly spaced."""

PIXELS = "a PIL image, or a uint8 tensor of (C, H, W) with 1 or 3 channels"


def own_dataset(name: str) -> Published:
    """What a name stands for, or what is returned when it is called without arguments.

    Items are pairs of an image, of PIL or a uint8 tensor of (C, H, W), and a whole number. With an attribute `targets`,
    as torchvision's data sets have it, labels are known without reading the images; `classes` names them.

    Args:
        name: as `package.module:name`.

    Raises:
        ImportedError: it cannot be imported, or is no such sequence.
        DataError: labels cannot be used, or images are others when they are asked for again.
    """
    dataset = _Dataset(name)
    labels = dataset.labels()
    numbers = number_classes(labels, (), name)
    probes = range(0, len(labels), max(1, len(labels) // NUM_PROBES))
    pixels = [dataset.read(place) for place in probes]
    if pixels[0] != dataset.read(0):
        raise DataError(
            f"{KEY}: {name} gives other pixels when item 0 is asked for again; leave random transforms to the study"
        )
    contents = [(f"{label}", None, 0) for label in labels] + [(content.hex(), None, 0) for content in pixels]
    known = dataset.class_names()
    classes = [known[label] if isinstance(label, int) and 0 <= label < len(known) else str(label) for label in numbers]
    part = Encoded(
        [f"item {place} of {name}" for place in range(len(labels))], [numbers[label] for label in labels], dataset.read
    )
    return Published(
        f"the data set {name}",
        fingerprint(contents),
        len(numbers),
        lambda: (part, None),
        streaming=None,
        classes=classes,
        notes=numbering_note(numbers, name),
    )


class _Dataset:
    """A user's data set, whose items are checked when they are read."""

    def __init__(self, name: str) -> None:
        found: Any = imported(name, KEY)
        if callable(found) and (isinstance(found, type) or not hasattr(found, "__getitem__")):
            try:
                found = found()
            except Exception as error:
                raise ImportedError(f"{KEY}: {name}() fails: {type(error).__name__}: {error}") from error
        if not hasattr(found, "__getitem__") or not hasattr(found, "__len__") or isinstance(found, dict | str):
            raise ImportedError(
                f"{KEY}: {name} is {type(found).__name__}, not a sequence of (image, label) with a length; give a "
                "map-style data set, or a function without arguments that makes one"
            )
        if len(found) == 0:
            raise ImportedError(f"{KEY}: {name} has no items")
        self._name = name
        self._items = found
        # Files and archives behind it are often not made for several threads.
        self._lock = threading.Lock()

    def labels(self) -> list[Label]:
        """Of all items."""
        targets = getattr(self._items, "targets", None)
        if targets is not None and len(targets) == len(self._items):
            return [self._label(place, target) for place, target in enumerate(targets)]
        return [self._label(place, self._item(place)[1]) for place in range(len(self._items))]

    def class_names(self) -> Sequence[str]:
        """By the labels; empty if it has none."""
        return [str(name) for name in getattr(self._items, "classes", ())]

    def read(self, place: int) -> bytes:
        """An item's image as a PNG, or as a TIFF where that has no form for its pixels."""
        image = self._item(place)[0]
        if isinstance(image, Tensor):
            if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] not in (1, 3):
                raise ImportedError(
                    f"{self._where(place)} is a tensor of {image.dtype} and {tuple(image.shape)}; give {PIXELS}"
                )
            array = image.permute(1, 2, 0).contiguous().numpy()
            image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
        if not isinstance(image, Image.Image):
            raise ImportedError(f"{self._where(place)} has {type(image).__name__} for an image; give {PIXELS}")
        sink = io.BytesIO()
        is_png = image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
        image.save(sink, "PNG", compress_level=1) if is_png else image.save(sink, "TIFF")
        return sink.getvalue()

    def _item(self, place: int) -> tuple[Any, Any]:
        try:
            with self._lock:
                item = self._items[place]
        except Exception as error:
            raise ImportedError(f"{self._where(place)} fails: {type(error).__name__}: {error}") from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise ImportedError(f"{self._where(place)} is {type(item).__name__}, not a pair of image and label")
        return item[0], item[1]

    def _label(self, place: int, label: Any) -> int:
        if isinstance(label, Tensor | np.ndarray) and label.ndim == 0:
            label = label.item()
        if isinstance(label, bool) or not isinstance(label, int | np.integer):
            raise ImportedError(f"{self._where(place)} has the label {label!r}; labels are whole numbers")
        return int(label)

    def _where(self, place: int) -> str:
        return f"{KEY}: item {place} of {self._name}"
