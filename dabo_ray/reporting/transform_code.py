"""Code that augments as an arm of a study does, to be pasted into a training script: torchvision's, or our file's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dabo_ray.config.schema.baselines import Settings, arm_of

Stage = Literal["image", "float", "batch"]


@dataclass(frozen=True)
class Step:
    """A step of the pipeline."""

    expression: str
    """Makes the transform."""

    stage: Stage = "image"
    """What it works on: uint8 images, floating point ones, or whole batches with their labels."""

    imports: tuple[str, ...] = ()
    """Lines that it needs beside torch and torchvision's v2."""


_FIXED = "from dabo_ray.augment.fixed_transform import FixedTransform"
_BILINEAR = "interpolation=v2.InterpolationMode.BILINEAR"


def file_step(path: str) -> Step:
    """What was learned, from its file."""
    return Step(f"dabo_ray.load({absolute(path)!r})", imports=("import dabo_ray",))


def absolute(path: str) -> str:
    """The path from wherever the code is run, if the file is there to be found."""
    return str(Path(path).resolve()) if Path(path).exists() else path


def baseline_steps(arm: Settings) -> list[Step]:
    """The steps of a baseline made by hand, with its settings."""
    settings = {key: getattr(arm, key) for key in arm.settings()}
    if arm.name == "compose":
        return [step for part in settings["steps"] for step in baseline_steps(arm_of(part))]
    return _STEPS[arm.name](settings)


def _call(name: str, settings: Mapping[str, Any], extra: str = "") -> str:
    words = [f"{key}={value!r}" for key, value in settings.items()]
    return f"{name}({', '.join([*words, *([extra] if extra else [])])})"


def _ours(module: str, name: str) -> Callable[[Mapping[str, Any]], list[Step]]:
    """What torchvision has no transform for that takes images of any size."""
    return lambda settings: [
        Step(
            f"FixedTransform({_call(name, settings)})",
            imports=(f"from dabo_ray.augment.{module} import {name}", _FIXED),
        )
    ]


def _affine(settings: Mapping[str, Any]) -> list[Step]:
    ranges = {
        "degrees": settings["degrees"],
        "translate": (settings["translate"],) * 2,
        "scale": tuple(settings["scale"]),
    }
    return [Step(_call("v2.RandomAffine", ranges, _BILINEAR))]


def _augmix(settings: Mapping[str, Any]) -> list[Step]:
    depth = settings["chain_depth"]
    return [Step(_call("v2.AugMix", {**settings, "chain_depth": -1 if depth is None else depth}))]


def _erasing(settings: Mapping[str, Any]) -> list[Step]:
    names = {"probability": "p", "scale": "scale", "ratio": "ratio", "value": "value"}
    return [Step(_call("v2.RandomErasing", {new: settings[old] for old, new in names.items()}), "float")]


def _policy_file(settings: Mapping[str, Any]) -> list[Step]:
    return [
        Step(
            f"FixedTransform(FastAutoAugment(read_policy(Path({absolute(settings['path'])!r}))))",
            imports=(
                "from pathlib import Path",
                "from dabo_ray.augment.fast_autoaugment import FastAutoAugment",
                "from dabo_ray.augment.fast_autoaugment_file import read_policy",
                _FIXED,
            ),
        )
    ]


def _mixing(name: str) -> Callable[[Mapping[str, Any]], list[Step]]:
    return lambda settings: [Step(_call(name, settings, "num_classes=NUM_CLASSES"), "batch")]


_STEPS: dict[str, Callable[[Mapping[str, Any]], list[Step]]] = {
    "none": lambda settings: [],
    "flip": lambda settings: [Step(f"v2.Random{'Vertical' if settings['vertical'] else 'Horizontal'}Flip()")],
    "crop": _ours("geometric", "Crop"),
    "flip_crop": _ours("geometric", "FlipCrop"),
    "affine": _affine,
    "color_jitter": lambda settings: [Step(_call("v2.ColorJitter", settings))],
    "cutout": _ours("erasing", "Cutout"),
    "random_erasing": _erasing,
    "autoaugment": lambda settings: [Step(f"v2.AutoAugment(v2.AutoAugmentPolicy.{settings['policy'].upper()})")],
    "randaugment": lambda settings: [Step(_call("v2.RandAugment", settings))],
    "trivialaugment": lambda settings: [Step("v2.TrivialAugmentWide()")],
    "augmix": _augmix,
    "mixup": _mixing("v2.MixUp"),
    "cutmix": _mixing("v2.CutMix"),
    "policy_file": _policy_file,
    "augmenter_file": lambda settings: [file_step(settings["path"])],
}
"""Every baseline made by hand -> its steps."""


def program(steps: Sequence[Step]) -> str:
    """Lines that make `transform`, of pictures of PIL or tensors, and where batches are mixed `mix`."""
    imports = [*sorted({line for step in steps for line in step.imports}), "import torch"]
    imports.append("from torchvision.transforms import v2")
    images, floats = ([step.expression for step in steps if step.stage == stage] for stage in ("image", "float"))
    inner = ["v2.ToImage()", *images, "v2.ToDtype(torch.float32, scale=True)", *floats]
    lines = [*imports, "", "transform = v2.Compose([", *(f"    {expression}," for expression in inner), "])"]
    mixing = [step.expression for step in steps if step.stage == "batch"]
    if mixing:
        use = "# of batches: images, labels = mix(images, labels)"
        lines += ["", "NUM_CLASSES = 10  # of your data", f"mix = {_chain(mixing)}  {use}"]
    return "\n".join(lines)


def _chain(expressions: Sequence[str]) -> str:
    return expressions[0] if len(expressions) == 1 else f"v2.Compose([{', '.join(expressions)}])"
