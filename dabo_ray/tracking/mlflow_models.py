"""Registered models in MLflow: a version for each augmenter that a study has learned."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dabo_ray.storage.layout import StudyFolder
from dabo_ray.tracking.mlflow_store import MlflowStore
from dabo_ray.trials import TrialResult

if TYPE_CHECKING:
    from mlflow.entities import Run

ARTIFACT = "model"
_HERE = Path(__file__).parent
_PACKAGE = _HERE.parent
_REQUIREMENTS = ("mlflow", "numpy", "safetensors", "torch", "torchvision")
_SIDE = 32
"""Of the input example; an augmenter takes images of any size."""


@dataclass
class AugmenterModels:
    """The registered model of one study: a version for each learned arm, under the arm's name as its alias.

    A version holds the exported augmenter, a copy of the code that reads it, a signature and an input example. So it
    stays loadable whatever becomes of this package, and loading it unpickles nothing.
    """

    store: MlflowStore

    @property
    def name(self) -> str:
        """Of the registered model; MLflow allows neither slashes nor colons there."""
        return f"{self.store.study}-augmenter".replace("/", "-").replace(":", "-")

    def register(self, result: TrialResult) -> None:
        """Make what a trial has learned a version, unless it is one; without an exported augmenter nothing is done."""
        file = StudyFolder(self.store.study_dir).trial(result.trial.name).augmenter
        runs = self.store.search(f"tags.`dabo_ray.trial` = '{result.trial.name}'")
        if not file.exists() or not runs:
            return
        run = runs[0]
        self._make_registered_model()
        if self.store.client.search_model_versions(f"name = '{self.name}' and run_id = '{run.info.run_id}'"):
            return
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / ARTIFACT
            save_model(file, folder)
            self.store.client.log_artifacts(run.info.run_id, str(folder), ARTIFACT)
        self._make_version(run, result)

    def _make_registered_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.store.client.get_registered_model(self.name)
        except MlflowException:
            about = f"What the learned arms of the study {self.store.study} do to images."
            self.store.client.create_registered_model(self.name, description=about)

    def _make_version(self, run: Run, result: TrialResult) -> None:
        trial = result.trial
        version = self.store.client.create_model_version(
            self.name,
            source=f"{run.info.artifact_uri}/{ARTIFACT}",
            run_id=run.info.run_id,
            tags={"arm": trial.arm, "trial": trial.name, "seed": str(trial.seed)},
            description=f"Learned by {trial.name}, of its arm's seeds the one with the least loss on the outer images.",
            await_creation_for=0,
        )
        self.store.client.set_registered_model_alias(self.name, trial.arm, version.version)


def save_model(augmenter: Path, folder: Path) -> None:
    """Write an exported augmenter as a model that `mlflow.pyfunc.load_model` reads.

    Args:
        augmenter: A file of `augment.export.save`.
        folder: To be made.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from dabo_ray.augment.export import load_augmenter

    images = TensorSpec(np.dtype(np.float32), (-1, -1, -1, -1))
    load_augmenter(augmenter)  # a damaged file must not become a model
    with tempfile.TemporaryDirectory() as scratch:
        code = Path(scratch) / "dabo_ray"
        for part in ("augment", "storage"):
            shutil.copytree(_PACKAGE / part, code / part, ignore=shutil.ignore_patterns("__pycache__"))
        for module in ("__init__.py", "seeds.py"):
            shutil.copy(_PACKAGE / module, code)
        mlflow.pyfunc.save_model(
            folder,
            python_model=_HERE / "augmenter_model.py",
            artifacts={"augmenter": str(augmenter)},
            code_paths=[str(code)],
            signature=ModelSignature(Schema([images]), Schema([images])),
            input_example=np.zeros((2, 1, _SIDE, _SIDE), np.float32),
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in _REQUIREMENTS],
        )
