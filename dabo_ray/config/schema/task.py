"""What goes with which task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dabo_ray.config.schema.baselines import BaselineEntry, CompositionConfig, arm_of, label_of
from dabo_ray.config.schema.data import SEGMENTATION_DATA, DataConfig
from dabo_ray.config.schema.policies import AugMixConfig
from dabo_ray.config.schema.training import AugmenterConfig, ClassifierConfig
from dabo_ray.config.schema.transformations import MixingConfig

SCORES = {
    "classification": ("select_accuracy", "select_balanced_accuracy", "select_macro_f1"),
    "segmentation": ("select_mean_iou", "select_mean_dice"),
}
"""Task -> what its trials may be judged by, the first one unless the study says otherwise."""

SEGMENTATION_CLASSIFIERS = ("unet",)


def contradictions_of_the_task(
    task: str,
    data: DataConfig,
    classifier: ClassifierConfig,
    augmenter: AugmenterConfig,
    objective: Iterable[str],
    baselines: Sequence[BaselineEntry],
) -> dict[str, str]:
    """Key path -> what does not go with the task of a study, and what to change."""
    is_segmentation = task == "segmentation"
    found = {}
    named: list[tuple[str, str, Sequence[str]]] = [("data.name", data.name, SEGMENTATION_DATA)]
    if not classifier.imported:
        named.append(("classifier.name", classifier.name, SEGMENTATION_CLASSIFIERS))
    for key, value, of_segmentation in named:
        if is_segmentation and value not in of_segmentation:
            found[key] = f"is {value}, which is not for task: segmentation; give {' or '.join(of_segmentation)}"
        elif not is_segmentation and value in of_segmentation:
            found[key] = f"is {value}, which is for task: segmentation; set task, or give another"
    wrong = [name for name in objective if name.startswith("select_") and name not in SCORES[task]]
    if wrong:
        found["search.objective"] = f"has {', '.join(wrong)}, and the task is {task}; give {' or '.join(SCORES[task])}"
    if not is_segmentation:
        if classifier.dice:
            found["classifier.dice"] = "is for task: segmentation; remove it"
        return found
    if classifier.label_smoothing:
        found["classifier.label_smoothing"] = "is for task: classification; remove it"
    if augmenter.conditioning == "class":
        found["augmenter.conditioning"] = "is class, and an image of a segmentation has many; give none or image"
    if mixing := [label_of(step) for step in baselines if _blends(step)]:
        found["baselines"] = f"has {', '.join(mixing)}, which blends images and cannot move their masks; remove it"
    return found


def _blends(step: BaselineEntry) -> bool:
    arm = arm_of(step)
    return isinstance(arm, MixingConfig | AugMixConfig) or (
        isinstance(arm, CompositionConfig) and any(map(_blends, arm.steps))
    )
