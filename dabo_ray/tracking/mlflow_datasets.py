"""Data sets of a study as MLflow shows them: the images of every role."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dabo_ray.tracking.provenance import UNKNOWN

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

ROLES = ("train", "outer", "select", "test")
"""What images are used for; a data set of its own in MLflow each."""


def datasets_of(params: Mapping[str, Any], provenance: Mapping[str, str]) -> list[DatasetInput]:
    """The images of every role; which these are follows from the labelled images, the settings and the seed.

    Args:
        params: the resolved study by key path.
        provenance: has the name of the data set, and the digest of its labelled images.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    name, labelled = (provenance.get(key, UNKNOWN) for key in ("dataset", "dataset_digest"))
    settings = {key: params[key] for key in sorted(params) if key == "seed" or key.startswith("data.")}
    source = json.dumps({"name": name, "digest_of_labelled_images": labelled, "settings": settings}, default=str)
    found = []
    for role in ROLES:
        digest = hashlib.sha256(f"{role} {source}".encode()).hexdigest()[:16]
        images = Dataset(f"{name} {role}", digest, source_type="dabo_ray", source=source)
        found.append(DatasetInput(images, [InputTag("mlflow.data.context", role)]))
    return found
