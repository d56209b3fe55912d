"""Sections classifier, augmenter and bilevel."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from dabo_ray.config.schema.baselines import BaselineEntry, are_hand_made, arm_of, mixes_images, tuned
from dabo_ray.config.schema.section import (
    TIMM_NAME,
    Count,
    Fraction,
    NotNegative,
    PartOrAll,
    Positive,
    Section,
    checked_name,
)


class ClassifierConfig(Section):
    """The network that is trained, and its training: SGD as in torch.optim.SGD."""

    name: (
        Literal[
            "small_cnn",
            "resnet18",
            "resnet34",
            "resnet50",
            "wide_resnet_40_2",
            "wide_resnet_28_10",
            "resnet18_imagenet",
            "resnet50_imagenet",
            "unet",
        ]
        | Annotated[str, Field(pattern=TIMM_NAME)]
    ) = "small_cnn"
    """`small_cnn`: three convolutions with group normalisation; `resnet18` to `resnet50` and the wide ones: the CIFAR
    form, for 32 and 64 pixels; `..._imagenet`: torchvision's, with a 7x7 stem and pooling, for 224 pixels and more;
    `unet`, for segmentation: three resolutions with group normalisation; `timm/NAME`: any of timm's, where that is
    installed."""

    imported: Annotated[str, Field(alias="import")] = ""
    """A network of your own in place of `name`: `package.module:name` of a function or class. It is called with
    `num_classes`, with `shape` (channels, height, width) if it has a parameter of that name, and with `args`; it takes
    images of (B, C, H, W), standardised, and gives (B, num_classes) scores, for
    segmentation (B, num_classes, H, W). `--check` tries it with a batch."""

    args: dict[str, Any] = {}
    """More arguments for `import` or `timm/NAME`, by name."""

    weights: str = ""
    """File with pretrained weights of the network, a state_dict saved by torch.save; a last layer for another number of
    classes starts anew. Empty: random first weights."""

    width: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    """Channels of the first convolution of `small_cnn` and `unet`; a multiple of 8."""

    epochs: Count = 30
    """Passes over the training images."""

    batch_size: Annotated[int, Field(ge=2)] = 128
    """Images per classifier update, over all workers of a trial."""

    lr: Positive = 0.1
    """Learning rate of SGD at the start."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of SGD."""

    nesterov: bool = False
    """Nesterov's form of momentum; needs momentum > 0."""

    weight_decay: NotNegative = 5.0e-4
    """L2 penalty of SGD."""

    schedule: Literal["constant", "cosine", "step"] = "cosine"
    """Learning rate over the epochs: cosine to zero, or times `decay` at each of the `milestones`, or constant."""

    milestones: Annotated[list[Fraction], Field(min_length=1)] = [0.3, 0.6, 0.8]
    """For `schedule: step`: growing parts of the epochs, in (0, 1), after which the learning rate falls."""

    decay: Fraction = 0.2
    """For `schedule: step`: what the learning rate is multiplied by at each milestone."""

    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    """First epochs, in which the learning rate grows linearly up to `lr`; the schedule runs over the others. Fewer than
    `epochs`."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the features before the last layer that training leaves out, drawn anew for each image."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of each target that is spread over all classes; in the outer loss too."""

    dice: Annotated[float, Field(ge=0, le=1)] = 0.0
    """For segmentation: part of the soft Dice loss in the whole; the rest is cross entropy."""

    clip_norm: Positive | None = None
    """Largest norm of the gradient of all weights together, as torch.nn.utils.clip_grad_norm_; none: any."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the network: `bfloat16` is torch's autocast; weights and losses stay float32."""

    @field_validator("imported")
    @classmethod
    def _names_an_object(cls, name: str) -> str:
        return checked_name(name)

    @field_validator("milestones")
    @classmethod
    def _grow(cls, milestones: list[float]) -> list[float]:
        if sorted(set(milestones)) != milestones:
            raise ValueError(f"got {milestones}; give each once, in growing order")
        return milestones

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs is {self.warmup_epochs}, but there are {self.epochs} epochs; give it fewer of them"
            )
        fields = type(self).model_fields
        given = [key for key in ("milestones", "decay") if getattr(self, key) != fields[key].default]
        if given and self.schedule != "step":
            raise ValueError(
                f"{', '.join(given)} would not be used: the schedule is {self.schedule}; set it to step or remove them"
            )
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0; set momentum or remove nesterov")
        if self.imported and self.name != fields["name"].default:
            raise ValueError(f"import and the name {self.name} are two networks; remove one of them")
        if self.args and not self.is_given:
            raise ValueError(f"args are for import and timm/NAME; remove them for {self.name}")
        return self

    @property
    def is_given(self) -> bool:
        """Whether the network is the user's own, or of timm."""
        return bool(self.imported) or self.name.startswith("timm/")

    @property
    def label(self) -> str:
        """Of the network, for people."""
        return self.imported or self.name


_AFFINE = {"rotation": 1, "scale": 1, "aspect": 1, "shear": 1, "translation": 2}
_MATRIX = {"linear": 4, "translation": 2}
_TONES = {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 1}
OPERATIONS: dict[str, dict[str, int]] = {
    "affine": _AFFINE,
    "affine_matrix": _MATRIX,
    "affine_color": _AFFINE | _TONES,
    "affine_color_matrix": _MATRIX | _TONES,
    "policy": {"flip": 0, **_AFFINE, **_TONES, "sharpness": 1, "autocontrast": 0, "equalize": 0}
    | {"posterize": 1, "solarize": 1, "erase": 1},
}
"""Augmenter -> its operations, each with how many numbers it takes."""


class AugmenterConfig(Section):
    """The network that turns noise into image transformations, and how it learns."""

    name: Literal["affine", "affine_matrix", "affine_color", "affine_color_matrix", "policy"] = "affine"
    """`affine`: rotation, scale, aspect, shear and translation with learned spreads; `affine_color`: brightness,
    contrast, saturation and hue in random order too; `policy`: these and operations without a derivative, each with a
    learned probability. `affine_matrix`, `affine_color_matrix`: the published forms, the numbers of a 2x3 matrix, and
    of the tones, around their neutral values."""

    operations: Annotated[list[str], Field(min_length=1)] | None = None
    """What it may do to an image, each once; null: all that it can. `affine`: rotation, scale, aspect, shear,
    translation; `affine_matrix`: linear, translation; with `_color` also brightness, contrast, saturation, hue;
    `policy`: those of `affine_color` and flip, sharpness, autocontrast, equalize, posterize, solarize, erase."""

    base: list[BaselineEntry] = []
    """Made by hand, one step after the other, to training images before the augmenter has them: names, or sections with
    settings, as in `baselines`; none that mixes images. In every arm with an augmenter, frozen or from a file."""

    hidden: Count | Annotated[list[Count], Field(min_length=1)] = 32
    """Units of each hidden layer, or a list with the units of each (`[6, 60]`)."""

    depth: Count | None = None
    """Hidden layers of `hidden` units each; null: one, or as many as `hidden` lists."""

    noise: Count | None = None
    """Dimension of the noise, uniform in (-1, 1), one draw per image; null: one for each number that the operations
    take (6 for all of `affine`, 10 of `affine_color`, 14 of `policy`); fewer in the matrix forms alone."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the network's hidden units left out, anew for each image; it widens what is drawn, when frozen too."""

    conditioning: Literal["none", "class", "image"] = "none"
    """What the distribution may depend on: nothing, the label, or the image (averaged over 4x4 parts)."""

    centre: Literal["identity", "free"] = "identity"
    """`identity`: the mean transformation is the identity by construction, the spread is learned; `free`: both are."""

    optimizer: Literal["shrunk_adam", "adam", "sgd"] = "shrunk_adam"
    """Optimiser of the augmenter. `shrunk_adam` steps only as far as the gradients stand out from noise; `sgd` has
    momentum 0.9."""

    lr: Positive | None = None
    """Learning rate of the augmenter's optimiser at the start; null: 0.01 for `adam`, 0.2 for `sgd`, and for
    `shrunk_adam` 80 over the number of its updates, but 0.05 at most: a spread can go as far in a short training as in
    a long one."""

    schedule: Literal["constant", "cosine"] = "cosine"
    """Learning rate of the augmenter's optimiser over its updates: cosine to zero, or constant."""

    weight_decay: NotNegative = 0.0
    """L2 penalty of `adam` and `sgd`."""

    budget: Positive = 0.1
    """For the baseline `adversarial`: largest root mean square change of a pixel, of values from 0 to 1."""

    @field_validator("base")
    @classmethod
    def _keeps_labels(cls, base: list[BaselineEntry]) -> list[BaselineEntry]:
        if not are_hand_made(base) or any(map(mixes_images, base)):
            raise ValueError(
                "steps may be neither compositions nor networks nor mixup or cutmix, since the augmenter is given "
                "images of one class each; name hand-made augmentations"
            )
        if any(tuned(arm_of(step)) for step in base):
            raise ValueError("steps may not have tune, which is for baselines; give each setting one value")
        return base

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        known = OPERATIONS[self.name]
        chosen = list(known) if self.operations is None else self.operations
        if len(set(chosen)) < len(chosen) or not set(chosen) <= known.keys():
            raise ValueError(f"operations are {chosen}; {self.name} has {', '.join(known)}: name each once at most")
        needed = sum(known[operation] for operation in chosen)
        if self.noise is not None and self.noise < needed and not self.name.endswith("_matrix"):
            raise ValueError(
                f"noise is {self.noise}; {self.name} with {', '.join(chosen)} needs {needed} dimensions or more"
            )
        if isinstance(self.hidden, list) and self.depth not in (None, len(self.hidden)):
            raise ValueError(f"depth is {self.depth}, but hidden lists {len(self.hidden)} layers; remove depth")
        if self.optimizer == "shrunk_adam" and self.weight_decay:
            raise ValueError("weight_decay is for adam and sgd; shrunk_adam has none: remove it or set optimizer")
        return self


ENOUGH_EVIDENCE = 1000
"""Whole batches whose second derivatives tell which augmentation helps, over a training."""

MOST_INNER_STEPS, SMALLEST_MIXED_FRACTION, SMALLEST_OUTER_FRACTION = 8, 0.25, 0.5
"""How far a long training economises: a bilevel step then costs at most 1.3 times an ordinary one."""


class BilevelConfig(Section):
    """How the two learning problems take turns."""

    inner_steps: Count | None = None
    """Classifier updates between two augmenter updates (M); null: one for each thousand classifier updates of the
    training, from 1 to 8, since it takes about a thousand updates to tell which augmentation helps."""

    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Part of the classifier updates, the first ones, in which the augmenter stays as it is. Before the classifier has
    learned something, its outer loss says little about augmentation; what a spread does there by chance is slow to be
    undone."""

    warmup_loss: PartOrAll | None = 0.2
    """Until the training loss has fallen to this part of what it was in the first update, images are left as they are,
    beside `augmenter.base`, and the augmenter is not learned: augmentation slows a training down as long as the
    classifier does not fit its training images. Where that never happens, nothing is learned: train longer. null: wait
    for `warmup_fraction` alone, in which the augmenter does what it does before learning."""

    truncation: Annotated[int, Field(ge=1, le=64)] = 1
    """Latest classifier updates that the hypergradient flows through (K); may exceed inner_steps."""

    differentiate: Literal["direction", "update"] = "direction"
    """What the hypergradient sees of the classifier's updates: `direction`, where they point, with their lengths held;
    `update`, all of them, as published. The loss right after an update falls the more, the longer the update is, so the
    published form rewards augmentation for large gradients, whether they help in the end or not."""

    engine: Literal["adjoint", "unrolled"] = "adjoint"
    """How the hypergradient is computed: `adjoint`, one update at a time, with the memory of one; `unrolled`, by one
    graph through all of the window. The same numbers."""

    outer_batch_fraction: PartOrAll | None = None
    """Images of an outer batch over `classifier.batch_size`, in (0, 1]; null: `mixed_batch_fraction`, but at least 0.5,
    so 1 in all but long trainings."""

    mixed_batch_fraction: PartOrAll | None = None
    """Part of a training batch over which second derivatives are taken, in (0, 1], an unbiased estimate below 1; null:
    so much that they add up to a thousand whole batches over the training, but at least 0.25."""

    antithetic: bool = True
    """Take second derivatives with each image's noise and with the opposite noise: less noise in the hypergradient, for
    the cost of the images twice. With `false` and both fractions 1 the hypergradient is that of the update done."""

    def for_training(self, num_steps: int) -> BilevelConfig:
        """With numbers for what is null, by the number of classifier updates of a training, >= 1."""
        inner_steps = self.inner_steps or min(max(num_steps // ENOUGH_EVIDENCE, 1), MOST_INNER_STEPS)
        fraction = ENOUGH_EVIDENCE * inner_steps / num_steps
        mixed = self.mixed_batch_fraction or min(max(fraction, SMALLEST_MIXED_FRACTION), 1.0)
        outer = self.outer_batch_fraction or max(mixed, SMALLEST_OUTER_FRACTION)
        found = {"inner_steps": inner_steps, "mixed_batch_fraction": mixed, "outer_batch_fraction": outer}
        return self.model_copy(update=found)
