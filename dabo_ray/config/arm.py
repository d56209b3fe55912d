"""What all baselines of a study file share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dabo_ray.config.section import Section


class Arm(Section):
    """A baseline with settings."""

    label: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] | None = None
    """Name of the arm in tables; null: the baseline's. Two of one kind need two labels."""
