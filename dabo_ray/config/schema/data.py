"""Section data: labelled images, their split and their shift."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from dabo_ray.config.schema.section import Fraction, Section, checked_name

_WITH_TEST = ("mnist", "fashion_mnist", "cifar10", "cifar100", "tiny_imagenet", "imagenet")
_GROUPED = ("tiny_imagenet", "imagenet", "bach", "image_folder", "csv", "parquet", "segmentation_folder")
_OF_FILES = (*_GROUPED, "imported")

SEGMENTATION_DATA = ("segmentation_digits", "segmentation_folder")
"""Data sets with a class for each pixel."""


class ShiftConfig(Section):
    """A change of the outer, select and test images that the training images do not show."""

    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Each image is turned by an angle from U(-rotation, rotation), in degrees."""

    translation: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Each image is moved along x and y by U(-translation, translation), in fractions of the side."""

    zoom_in: Annotated[float, Field(ge=0, le=9)] = 0.0
    """Each image is magnified about its middle by a factor from U(1 - zoom_out, 1 + zoom_in)."""

    zoom_out: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """See `zoom_in`; alone: each image shrinks by a factor from U(1 - zoom_out, 1), black around it."""

    def spreads(self) -> dict[str, float]:
        """Standard deviations of the shift, under the names and in the units of an epoch's record; none if zero.

        Records describe maps from output to input, whose scale is 1 / m for a magnification m. With m from U(a, b) its
        mean is ln(b / a) / (b - a), its mean square 1 / (a b). The mean is not 1 for a zoom in one direction, and
        augmenters with `centre: identity` cannot follow it: they must spread further than this to cover it.
        """
        spreads = {
            "rotation_spread_deg": self.rotation / math.sqrt(3),
            "translation_spread_percent": 100 * self.translation / math.sqrt(3),
            "scale_spread_percent": 100 * self._scale_spread(),
        }
        return {name: spread for name, spread in spreads.items() if spread}

    def ranges(self) -> dict[str, tuple[float, float]]:
        """What is drawn evenly between which bounds, under the names and in the units of `Augmenter.samples`."""
        percent = 100 * self.translation
        ranges = {
            "rotation_deg": (-self.rotation, self.rotation),
            "translation_x_percent": (-percent, percent),
            "translation_y_percent": (-percent, percent),
            "scale_factor": (1 - self.zoom_out, 1 + self.zoom_in),
        }
        return {name: (low, high) for name, (low, high) in ranges.items() if low < high}

    def _scale_spread(self) -> float:
        low, high = 1 - self.zoom_out, 1 + self.zoom_in
        if high == low:
            return 0.0
        return math.sqrt(max(0.0, 1 / (low * high) - (math.log(high / low) / (high - low)) ** 2))


class DataConfig(Section):
    """Which labelled images, and how they are split."""

    # With import there need be no name.
    model_config = ConfigDict(json_schema_extra={"required": []})

    name: Literal[
        "digits",
        "mnist",
        "fashion_mnist",
        "cifar10",
        "cifar100",
        "tiny_imagenet",
        "imagenet",
        "bach",
        "image_folder",
        "csv",
        "parquet",
        "segmentation_digits",
        "segmentation_folder",
        "imported",
    ]
    """Data set. `digits` comes with scikit-learn and needs no files; `image_folder` is any tree of CLASS/image files,
    `csv` a CSV of `file,label` (and `split`), `parquet` any Parquet of encoded images with labels. For `task:
    segmentation`, `segmentation_digits` are scenes of these digits, and `segmentation_folder` is any tree of
    images/NAME and masks/NAME files. `imported` is what `import` names."""

    imported: Annotated[str, Field(alias="import")] = ""
    """A data set of your own in place of `name`: `package.module:name` of a map-style data set, or of a function
    without arguments that makes one. Items are (image, label): an image of PIL or a uint8 tensor of (C, H, W), and a
    whole number. With an attribute `targets`, of all labels, images need not be read at every start; `classes` has
    names."""

    root: str = "data"
    """Folder with the data set's published files; for `csv` the CSV, from whose folder its files are looked for; for
    `parquet` also `s3://`, `gs://`."""

    cache: str = ""
    """Folder for converted data sets, best on a disk of each node; empty: `dabo_ray` in the user's cache folder
    (`$XDG_CACHE_HOME`, `~/.cache`). For images that are streamed also `s3://`, `gs://`."""

    image_size: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Side to which images are resized and cut, in pixels, for data sets of image files; null: as published, and 224
    for `imagenet`."""

    intensity_range: tuple[float, float] | None = None
    """Values of black and of white in grey images with more than 8 bits, such as [0, 4095] or [-1000, 400]; what lies
    outside is clipped. Null: 0 to 65535 for 16 bits, 0 to 1 for floats, and other values are refused."""

    streaming: Literal["auto", "always", "never"] = "auto"
    """Whether images stay encoded and are decoded when needed, or lie in memory; `auto`: by their size."""

    fold: str = ""
    """Folder of a published fold of `bach`: its file `test*.csv` names the test images. Empty: see test_fraction."""

    ignore_index: Annotated[int, Field(ge=0, le=255)] = 255
    """For `segmentation_folder`: the value of pixels in mask files that do not count. Masks of 0 and 255 alone are of
    two classes, with the default."""

    groups: str = ""
    """What stands on one side of every split, such as a patient, a slide or a person; empty: each image by itself. For
    `parquet` and `csv` the name of a column. For image files a CSV (`*.csv`) of `file,group`, or a regular expression
    that is searched in the path below root and whose one `(...)` is the group: `^[^/]+/(p[0-9]+)_` makes `p7` of
    `cat/p7_03.png`."""

    num_labels: Annotated[int, Field(ge=10)] | None = None
    """Labelled images to use in all (train, outer and select), a stratified subset; null: all there are."""

    outer_fraction: Fraction = 0.2
    """Part of the labelled images whose loss drives the augmenter; baselines train on them."""

    select_fraction: Fraction = 0.1
    """Part of the labelled images that chooses settings; used for training in the final phase."""

    test_fraction: Fraction | None = None
    """Part of all images held out for the final phase (null: 0.25); for data sets without a published test set."""

    shift: ShiftConfig = ShiftConfig()
    """How the images of outer, select and test differ from those that are trained on."""

    @field_validator("imported")
    @classmethod
    def _names_an_object(cls, name: str) -> str:
        return checked_name(name)

    @model_validator(mode="before")
    @classmethod
    def _is_named(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("import") and "name" not in values:
            return {**values, "name": "imported"}
        return values

    @model_validator(mode="after")
    def _is_one_data_set(self) -> Self:
        if self.imported and self.name != "imported":
            raise ValueError(f"import and the name {self.name} are two data sets; remove one of them")
        if self.name == "imported" and not self.imported:
            raise ValueError("the name imported needs import, as in data: {import: package.module:name}")
        return self

    @model_validator(mode="after")
    def _leaves_images_to_train_on(self) -> Self:
        if self.outer_fraction + self.select_fraction >= 1:
            raise ValueError(
                f"outer_fraction {self.outer_fraction} and select_fraction {self.select_fraction} leave no images "
                "to train on; their sum must stay under 1"
            )
        return self

    @model_validator(mode="after")
    def _has_a_pattern_with_one_group(self) -> Self:
        is_column = self.name == "parquet" or (self.name == "csv" and "(" not in self.groups)
        if not self.groups or is_column or self.groups.lower().endswith(".csv"):
            return self
        try:
            number = re.compile(self.groups).groups
        except re.error as error:
            raise ValueError(f"groups is {self.groups!r}, which is no regular expression: {error}") from None
        if number != 1:
            raise ValueError(
                f"groups is {self.groups!r}; give a CSV of file,group (*.csv), or a regular expression with one (...) "
                f"around what names the group, not {number}"
            )
        return self

    @property
    def label(self) -> str:
        """Of the data set, for people."""
        return self.imported or self.name

    @model_validator(mode="after")
    def _fits_the_data_set(self) -> Self:
        if self.test_fraction is not None and (self.name in _WITH_TEST or self.fold):
            raise ValueError(f"test_fraction is for data sets without a published test set; remove it for {self.name}")
        if self.image_size is not None and self.name not in _OF_FILES:
            raise ValueError(f"image_size is for {', '.join(_OF_FILES)}; {self.name} has one size: remove it")
        if self.intensity_range is not None and self.name not in _OF_FILES:
            raise ValueError(f"intensity_range is for {', '.join(_OF_FILES)}; remove it for {self.name}")
        if self.intensity_range is not None and not self.intensity_range[0] < self.intensity_range[1]:
            raise ValueError(f"intensity_range is {list(self.intensity_range)}; give [BLACK, WHITE], black the smaller")
        if self.streaming == "always" and (self.name not in _OF_FILES or self.name in SEGMENTATION_DATA):
            streamed = [name for name in _OF_FILES if name not in SEGMENTATION_DATA]
            raise ValueError(f"streaming is for {', '.join(streamed)}; {self.name} lies in memory: remove it")
        if self.ignore_index != 255 and self.name != "segmentation_folder":
            raise ValueError(f"ignore_index is for segmentation_folder; remove it for {self.name}")
        if self.groups and self.name not in _GROUPED:
            raise ValueError(f"groups is for {', '.join(_GROUPED)}; remove it for {self.name}")
        if self.fold and self.name != "bach":
            raise ValueError(f"fold is for bach; remove it for {self.name}")
        return self
