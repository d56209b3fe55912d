"""A learned augmenter as one small file, and back as a transform of torchvision for any DataLoader.

The file is in the safetensors format: the weights, and JSON in its header that says how to build the augmenter. Nothing
in it is executed. Loading needs torch, torchvision and safetensors alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.registry import AUGMENTERS, name_of
from dabo_ray.storage.atomic import write_atomically

if TYPE_CHECKING:
    from dabo_ray.augment.transform import LearnedTransform

FORMAT_VERSION = 1
HEADER_KEY = "dabo_ray_augmenter"
"""Key of the safetensors header under which the JSON stands."""


def save(augmenter: Augmenter, path: str | os.PathLike[str], *, description: Mapping[str, Any] | None = None) -> None:
    """Writes a learned augmenter to a file, whole or not at all.

    Args:
        augmenter: one of `AUGMENTERS`.
        path: of the file, `.safetensors` by custom; its folder must exist.
        description: anything about it that JSON can hold, such as where it was learned.

    Raises:
        ValueError: a weight is not finite, or JSON cannot hold the description.
        OSError: the folder cannot be written to.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(AUGMENTERS["affine"](), Path(folder) / "augmenter.safetensors", description={"data": "digits"})
    ...     transform = load(Path(folder) / "augmenter.safetensors")
    >>> transform.description
    {'data': 'digits'}
    >>> transform(torch.zeros(3, 32, 32, dtype=torch.uint8)).dtype
    torch.uint8
    """
    weights = {name: weight.detach().cpu().contiguous() for name, weight in augmenter.state_dict().items()}
    broken = [name for name, weight in weights.items() if not weight.isfinite().all()]
    if broken:
        raise ValueError(f"weights that are not finite numbers are not worth saving: {', '.join(broken)}")
    content = {
        "version": FORMAT_VERSION,
        "name": name_of(augmenter),
        "arguments": augmenter.arguments,
        "description": dict(description or {}),
    }
    try:
        header = json.dumps(content)
    except TypeError as error:
        raise ValueError(f"the description must be of values that JSON can hold: {error}") from error
    write_atomically(Path(path), to_bytes(weights, metadata={HEADER_KEY: header}))


def load(path: str | os.PathLike[str]) -> LearnedTransform:
    """Reads a saved augmenter as a transform, see `LearnedTransform`; nothing in the file is executed.

    Raises:
        ValueError: the file is not one of `save`, is damaged, or was written by a later version.
        FileNotFoundError: there is no such file.
    """
    # Training reads augmenters too, and need not wait for torchvision's second of importing.
    from dabo_ray.augment.transform import LearnedTransform

    augmenter, description = _read(Path(path))
    return LearnedTransform(augmenter, description)


def load_augmenter(path: str | os.PathLike[str]) -> Augmenter:
    """Reads a saved augmenter to draw from or to learn on; raises as `load` does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(AUGMENTERS["affine"](hidden=8), Path(folder) / "augmenter.safetensors")
    ...     load_augmenter(Path(folder) / "augmenter.safetensors").widths
    (8,)
    """
    return _read(Path(path))[0]


def _read(path: Path) -> tuple[Augmenter, dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER_KEY)
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged, or no safetensors file: {error}") from error
    if header is None:
        raise ValueError(f"{path} holds no learned augmenter; give a file that dabo_ray saved")
    try:
        content = json.loads(header)
        version, name, arguments = content["version"], content["name"], content["arguments"]
        description = dict(content["description"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} has a damaged header: {error!r}") from error
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {version!r}, this dabo_ray reads version {FORMAT_VERSION}; update dabo_ray"
        )
    if name not in AUGMENTERS:
        raise ValueError(f"{path} holds an augmenter {name!r}; known are {', '.join(AUGMENTERS)}")
    try:
        # Without memory of its own: what a header claims costs nothing before the weights are found to fit.
        with torch.device("meta"):
            augmenter = AUGMENTERS[name](**arguments)
        augmenter.load_state_dict(weights, assign=True)
    except (TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path} has weights that do not fit its arguments: {error}") from error
    return augmenter, description
