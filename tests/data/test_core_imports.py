"""A training loop of a user's own imports augmentation, classifiers and batches with the core's packages alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "dabo_ray"

EXTRA = (
    *("pyarrow", "scipy", "sklearn", "matplotlib", "pydantic", "ray", "optuna", "mlflow", "rich", "jinja2", "yaml"),
    *("psutil", "pandas"),
)
"""What `pip install` of the core does not bring."""

MODULES = [
    *(f"dabo_ray.{file.parent.name}.{file.stem}" for file in sorted(PACKAGE.glob("augment/*.py"))),
    *(f"dabo_ray.{file.parent.name}.{file.stem}" for file in sorted(PACKAGE.glob("models/*.py"))),
    "dabo_ray.data.images",
    "dabo_ray.data.loader",
]

SCRIPT = """
import importlib, json, sys

extra, modules = json.loads(sys.argv[1])
# As if it were not installed, for those that ask first whether it is, too.
sys.modules.update(dict.fromkeys(extra))
failed = {}
for module in modules:
    try:
        importlib.import_module(module)
    except ImportError as error:
        failed[module] = str(error)
print(json.dumps(failed))
"""


def failures(modules: list[str]) -> dict[str, str]:
    """Module -> why it cannot be imported without the extra packages, in a process of its own."""
    asked = json.dumps([EXTRA, modules])
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT, asked], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(told.stdout.splitlines()[-1])
    return found


def test_the_core_needs_no_extra_package() -> None:
    assert failures(MODULES) == {}


@pytest.mark.parametrize(("module", "package"), [("data.tables", "pyarrow"), ("config.schema", "pydantic")])
def test_a_missing_package_is_seen(module: str, package: str) -> None:
    assert package in failures([f"dabo_ray.{module}"])[f"dabo_ray.{module}"]
