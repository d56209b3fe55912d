"""The schema of a study file: every key, its meaning, unit, range and default. Reading one is `study_file.py`'s work.

Imports neither torch nor ray, so that a file is checked in a fraction of a second.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]

Baseline = Literal["none", "flip", "flip_crop", "affine", "trivialaugment", "random_augmenter"]


class Section(BaseModel):
    """What all sections share: unknown keys refused, no silent conversion of types, values fixed once read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Shift(Section):
    """A change of the outer, select and test images that the training images do not show."""

    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Each image is turned by an angle from U(-rotation, rotation), in degrees."""

    translation: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Each image is moved along x and y by U(-translation, translation), in fractions of the side."""

    def spreads(self) -> dict[str, float]:
        """Standard deviations of the shift, under the names and in the units of an epoch's record; none if zero."""
        spreads = {
            "rotation_spread_deg": self.rotation / math.sqrt(3),
            "translation_spread_percent": 100 * self.translation / math.sqrt(3),
        }
        return {name: spread for name, spread in spreads.items() if spread}


class Data(Section):
    """Which labelled images, and how they are split."""

    name: Literal["digits", "fashion_mnist", "cifar10", "cifar100"]
    """Data set; `digits` comes with scikit-learn and needs no files."""

    root: str = "data"
    """Folder with the data set's published files."""

    num_labels: Annotated[int, Field(ge=10)] | None = None
    """Labelled images to use in all (train, outer and select), a stratified subset; null: all there are."""

    outer_fraction: Fraction = 0.2
    """Part of the labelled images whose loss drives the augmenter; baselines train on them."""

    select_fraction: Fraction = 0.1
    """Part of the labelled images that chooses settings; used for training in the final phase."""

    test_fraction: Fraction | None = None
    """Part of all images held out for the final phase (null: 0.25); for `digits`, which has no published test set."""

    shift: Shift = Shift()
    """How the images of outer, select and test differ from those that are trained on."""

    @model_validator(mode="after")
    def _leaves_images_to_train_on(self) -> Self:
        if self.outer_fraction + self.select_fraction >= 1:
            raise ValueError(
                f"outer_fraction {self.outer_fraction} and select_fraction {self.select_fraction} leave no images "
                "to train on; their sum must stay under 1"
            )
        if self.test_fraction is not None and self.name != "digits":
            raise ValueError(f"test_fraction is for data sets without a published test set; remove it for {self.name}")
        return self


class Classifier(Section):
    """The network that is trained, and its training: SGD as in torch.optim.SGD."""

    name: Literal["small_cnn", "resnet18"] = "small_cnn"
    """`small_cnn`: three convolutions with group normalisation; `resnet18`: the CIFAR form (3x3 stem, no pooling)."""

    width: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    """Channels of the first convolution of `small_cnn`; a multiple of 8."""

    epochs: Count = 30
    """Passes over the training images."""

    batch_size: Annotated[int, Field(ge=2)] = 128
    """Images per classifier update, over all workers of a trial."""

    lr: Positive = 0.1
    """Step size of SGD at the start."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of SGD."""

    nesterov: bool = False
    """Nesterov's form of momentum; needs momentum > 0."""

    weight_decay: NotNegative = 5.0e-4
    """L2 penalty of SGD."""

    schedule: Literal["constant", "cosine", "step"] = "cosine"
    """Step size over the epochs: cosine to zero, or times 0.2 at 30, 60 and 80 % of the epochs, or constant."""

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0; set momentum or remove nesterov")
        return self


class Augmenter(Section):
    """The network that turns noise into image transformations, and how it learns."""

    name: Literal["affine", "affine_matrix"] = "affine"
    """`affine`: rotation, scale, aspect, shear and translation with learned spreads; `affine_matrix`: the numbers of a
    2x3 matrix around the identity, the published form."""

    hidden: Count = 32
    """Units of each hidden layer."""

    depth: Count = 1
    """Hidden layers."""

    noise: Count = 6
    """Dimension of the noise, uniform in (-1, 1), one draw per image; `affine` needs 6."""

    centre: Literal["identity", "free"] = "identity"
    """`identity`: the mean transformation is the identity by construction, the spread is learned; `free`: both are."""

    optimizer: Literal["shrunk_adam", "adam", "sgd"] = "shrunk_adam"
    """Optimiser of the augmenter. `shrunk_adam` steps only as far as the gradients stand out from noise; `sgd` has
    momentum 0.9."""

    lr: Positive = 0.03
    """Step size of the augmenter's optimiser at the start."""

    schedule: Literal["constant", "cosine"] = "cosine"
    """Step size of the augmenter's optimiser over its updates: cosine to zero, or constant."""

    weight_decay: NotNegative = 0.0
    """L2 penalty of `adam` and `sgd`."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.name == "affine" and self.noise < 6:
            raise ValueError(f"noise is {self.noise}; the affine augmenter needs 6 dimensions or more")
        if self.optimizer == "shrunk_adam" and self.weight_decay:
            raise ValueError("weight_decay is for adam and sgd; shrunk_adam has none: remove it or set optimizer")
        return self


class Bilevel(Section):
    """How the two learning problems take turns."""

    inner_steps: Count = 1
    """Classifier updates between two augmenter updates (M)."""

    truncation: Annotated[int, Field(ge=1, le=64)] = 1
    """Latest classifier updates that the hypergradient flows through (K); may exceed inner_steps."""


class IntRange(Section):
    """Whole numbers from low to high, both included; `log: true` for equal ratios instead of equal steps."""

    bounds: Annotated[tuple[int, int], Field(strict=False, alias="int")]
    """`int: [low, high]`."""

    log: bool = False
    """Equal ratios are equally likely; needs low > 0."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_range(self.bounds, self.log)
        return self


class FloatRange(Section):
    """Numbers from low to high; `log: true` for equal ratios instead of equal steps."""

    bounds: Annotated[tuple[float, float], Field(strict=False, alias="float")]
    """`float: [low, high]`."""

    log: bool = False
    """Equal ratios are equally likely; needs low > 0."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_range(self.bounds, self.log)
        return self


class Choice(Section):
    """One of the given values."""

    values: Annotated[list[bool | int | float | str], Field(min_length=1, alias="choice")]
    """`choice: [...]`, each value once."""

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if len(set(map(repr, self.values))) < len(self.values):
            raise ValueError(f"{self.values} names a value twice; name each once")
        return self


def _check_range(bounds: tuple[float, float], log: bool) -> None:
    low, high = bounds
    if low > high:
        raise ValueError(f"the range [{low}, {high}] is empty; give [low, high]")
    if log and low <= 0:
        raise ValueError(f"log: true needs low > 0, got {low}")


def _kind_of_space(value: Any) -> str | None:
    if isinstance(value, dict):
        return next((kind for kind in ("int", "float", "choice") if kind in value), None)
    kinds: dict[type, str] = {IntRange: "int", FloatRange: "float", Choice: "choice"}
    return kinds.get(type(value))


Space = Annotated[
    Annotated[IntRange, Tag("int")] | Annotated[FloatRange, Tag("float")] | Annotated[Choice, Tag("choice")],
    Discriminator(_kind_of_space),
]


class Pruner(Section):
    """Ends search trials that fall behind; baselines and finals always run to their end."""

    name: Literal["none", "median", "asha"] = "none"
    """`asha`: asynchronous successive halving; `median`: worse than the median of its peers at the same epoch."""

    min_epochs: Count = 5
    """No trial is ended before this many epochs."""

    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """`asha` keeps one of this many at each rung."""


class Search(Section):
    """Which settings of the learned augmentation are tried."""

    trials: Count = 1
    """Settings to try."""

    sampler: Literal["tpe", "random"] = "tpe"
    """How the next setting is chosen."""

    pruner: Pruner = Pruner()
    """When a setting is given up."""

    space: dict[str, Space] = {}
    """Key path -> `{int: [low, high]}`, `{float: [low, high]}` (either with `log: true`) or `{choice: [...]}`."""


class Final(Section):
    """The arms that are compared on the test images."""

    top: Annotated[int, Field(ge=0)] = 1
    """Best settings of the search to train again."""

    seeds: Annotated[int, Field(ge=1, le=100)] = 3
    """Fresh seeds for every arm; an interval needs two, a claim five."""


class Resources(Section):
    """What a trial runs on."""

    workers: Annotated[int, Field(ge=1, le=1024)] | Literal["local"] = "local"
    """Ray Train workers of a trial, which share its batches; `local`: the trial's own process, no worker group."""

    cpus_per_worker: Count = 1
    """CPUs of each worker, and its threads."""

    gpus_per_worker: NotNegative = 0.0
    """GPUs of each worker; a part of one (0.5) for single workers."""

    concurrent_trials: Count | Literal["auto"] = "auto"
    """Trials at the same time; `auto`: as many as fit on the cluster when the study starts."""

    @model_validator(mode="after")
    def _whole_gpus_for_groups(self) -> Self:
        whole = float(self.gpus_per_worker).is_integer()
        if not whole and (self.gpus_per_worker > 1 or self.workers not in ("local", 1)):
            raise ValueError(
                f"gpus_per_worker {self.gpus_per_worker} with workers {self.workers}: a part of a GPU is for single "
                "workers; give a whole number or set workers to 1"
            )
        return self


class Tracking(Section):
    """Where MLflow keeps the runs."""

    uri: str = ""
    """MLflow tracking URI; empty: SQLite in the storage folder (`sqlite:///<storage>/mlflow.db`)."""


class Study(Section):
    """A whole study file."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """Name of the study: of its folder, its MLflow experiment and its Optuna studies."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Everything random follows from it."""

    data: Data
    """Images and splits."""

    classifier: Classifier = Classifier()
    """What is trained, and how."""

    augmenter: Augmenter = Augmenter()
    """What learns to augment."""

    bilevel: Bilevel = Bilevel()
    """Schedule of the two problems."""

    search: Search = Search()
    """Settings to look for."""

    baselines: Annotated[list[Baseline], Field(min_length=0)] = ["none"]
    """Arms that the learned augmentation is compared with; `random_augmenter` is the untrained network."""

    final: Final = Final()
    """The comparison on the test images."""

    resources: Resources = Resources()
    """CPUs, GPUs and workers."""

    tracking: Tracking = Tracking()
    """MLflow."""

    storage: Annotated[str, Field(min_length=1)] = "runs"
    """Folder for the study's results; on a cluster one that every node sees at the same path."""

    database: str = ""
    """Optuna storage URL of the plan; empty: SQLite in the study's folder."""

    def contradictions(self) -> dict[str, str]:
        """Rules over several sections: key path -> what is wrong and what to change; empty when all hold."""
        found = {}
        if len(set(self.baselines)) < len(self.baselines):
            found["baselines"] = f"names an arm twice: {', '.join(self.baselines)}; name each once"
        if "://" in self.storage:
            found["storage"] = f"must be a folder, got {self.storage!r}; mount shared storage on every node instead"
        for key, folder in (("storage", self.storage), ("data.root", self.data.root)):
            if folder.startswith("~"):
                found[key] = f"got {folder!r}, and `~` is not the home folder here; give the path in full"
        if self.final.top > self.search.trials:
            found["final.top"] = f"is {self.final.top}, more than search.trials ({self.search.trials}); lower it"
        if not self.baselines and self.final.top == 0:
            found["final.top"] = "is 0 and there are no baselines, so nothing is compared; raise it or name baselines"
        return found
