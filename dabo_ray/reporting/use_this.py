"""What to do after a study: the arm to use, how sure that is, and code for a training script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dabo_ray.analysis.recommendation import recommend
from dabo_ray.config.key_paths import with_settings
from dabo_ray.config.schema import StudyConfig
from dabo_ray.config.schema.baselines import ARMS, NetworkConfig, arm_of
from dabo_ray.config.schema.policies import AugmenterFileConfig
from dabo_ray.reporting.transform_code import Step, baseline_steps, file_step, program
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import FROZEN, LEARNED, Phase, TrialResult


def use_this(
    study_dir: Path, study: StudyConfig, results: Sequence[TrialResult], arms: Sequence[Mapping[str, Any]]
) -> dict[str, str] | None:
    """The recommendation of a study as JSON values; None before any arm is scored.

    Args:
        study_dir: Its folder.
        study: Its study file.
        results: Every trial of it.
        arms: The `arms` of its summary, best test mean first.

    Returns:
        `arm`; `certainty`, a sentence; `what`, in words what it is; `file`, the path of the learned augmenter, empty
        where there is none; `code`, a program for a training script, empty where what was learned was not kept.
    """
    found = recommend(arms)
    if found is None:
        return None
    arm = next(arm for arm in arms if arm["name"] == found.arm)
    what, file = _what(study_dir, study, results, arm)
    if study.task == "segmentation":
        what += "; it moves masks with their images: transform(image, tv_tensors.Mask(mask))"
    steps = _steps(study, arm, file)
    return {
        "arm": found.arm,
        "certainty": found.certainty,
        "what": what,
        "file": str(file) if file else "",
        "code": "" if steps is None else program(steps),
    }


def best_seed(study_dir: Path, results: Sequence[TrialResult], arm: str) -> TrialResult | None:
    """Of an arm with a network the final trial whose file is best to use; None where no file was kept.

    It is the one that did best on the outer images, which it was learned on; no test image is looked at. A frozen arm
    is augmented with what the trials it comes from have learned.
    """
    kept = kept_networks(study_dir, results, arm)
    return min(kept, key=lambda r: (r.metrics.get("outer_loss", math.inf), r.trial.seed_index), default=None)


def kept_networks(study_dir: Path, results: Sequence[TrialResult], arm: str) -> list[TrialResult]:
    """The final trials whose files are the networks of an arm; those that a frozen arm comes from."""
    by_name = {result.trial.name: result for result in results}
    members = [result for result in results if result.trial.arm == arm and result.trial.phase is Phase.FINAL]
    sources = [by_name.get(result.trial.origin or "", result) if _is_frozen(result) else result for result in members]
    return [result for result in sources if StudyFolder(study_dir).trial(result.trial.name).augmenter.is_file()]


def _is_frozen(result: TrialResult) -> bool:
    return result.trial.method == FROZEN


def _what(
    study_dir: Path, study: StudyConfig, results: Sequence[TrialResult], arm: Mapping[str, Any]
) -> tuple[str, Path | None]:
    """In words, and the file."""
    if not _has_network(arm["method"]):
        return ("The images as they are" if arm["method"] == "none" else "Augmentation made by hand"), None
    seed = best_seed(study_dir, results, arm["name"])
    if seed is None:
        return "A network whose weights were not kept", None
    file = StudyFolder(study_dir.resolve()).trial(seed.trial.name).augmenter
    lead = "Learned augmentation" if arm["method"] in (LEARNED, FROZEN) else f"The network of {arm['method']}"
    which = f"that of seed {seed.trial.seed_index}, of {len(arm['seeds'])} the one with the least loss on outer images"
    if len(arm["seeds"]) == 1:
        which = f"that of seed {seed.trial.seed_index}"
    also = ""
    if arm["method"] == LEARNED:
        also = "; it was scored while it was learned, `final.frozen: true` scores the file in a training of its own"
    if study.augmenter.conditioning == "class":
        also += "; it depends on the class: call transform(image, label)"
    return f"{lead}, {which}{also}", file


def _has_network(method: str) -> bool:
    return method in (LEARNED, FROZEN) or ARMS.get(method) is NetworkConfig


def _steps(study: StudyConfig, arm: Mapping[str, Any], file: Path | None) -> list[Step] | None:
    settled = with_settings(study, arm["settings"])
    by_hand = [step for part in settled.augmenter.base for step in baseline_steps(arm_of(part))]
    if _has_network(arm["method"]):
        return None if file is None else [*by_hand, file_step(str(file))]
    baseline = settled.arms[arm["method"]]
    steps = baseline_steps(baseline)
    return [*by_hand, *steps] if isinstance(baseline, AugmenterFileConfig) else steps
