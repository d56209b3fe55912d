"""Base of all sections of a study file, and the types of their values."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from dabo_ray.importing import NAME

Fraction = Annotated[float, Field(gt=0, lt=1)]
PartOrAll = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
TIMM_NAME = r"^timm/\S+$"
"""Names of networks of timm."""

Count = Annotated[int, Field(ge=1)]


def checked_name(name: str) -> str:
    """A name of something to import, or none.

    Raises:
        ValueError: it does not look like one.
    """
    if not re.match(NAME, name):
        raise ValueError(f"got {name!r}; give package.module:name, as in mycode.photos:make")
    return name


class Section(BaseModel):
    """What all sections share: unknown keys refused, no silent conversion of types, values fixed once read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
