"""Learned augmentation as a model of MLflow. MLflow runs a copy of this file to load one; nothing is pickled.

Images in, augmented images out: (N, C, H, W), C = 1 or 3, float32 in [0, 1]; MLflow lets nothing else through.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from dabo_ray.augment.export import load


class AugmenterModel(PythonModel):  # type: ignore[misc]
    """`predict` augments a batch, with a draw for each image; `torch.manual_seed` before it repeats the draws."""

    def load_context(self, context: Any) -> None:
        """Read the exported augmenter."""
        self.transform = load(context.artifacts["augmenter"])

    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> np.ndarray:
        """Augmented images of the shape and the type of `model_input`."""
        augmented: np.ndarray = self.transform(torch.as_tensor(np.asarray(model_input))).numpy()
        return augmented


set_model(AugmenterModel())
