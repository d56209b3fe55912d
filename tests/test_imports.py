"""Imports point one way, and each outside package has its owners. Read from the source, nothing is imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "dabo_ray"

MAY_IMPORT: dict[str, set[str]] = {
    "seeds": set(),
    "trials": set(),
    "pareto": set(),
    "exit_codes": set(),
    "config": {"config"},
    "problems": {"config"},
    "yaml_text": {"problems"},
    "key_paths": {"config", "problems"},
    "drawable": {"config", "problems", "key_paths"},
    "study_file": {"config", "problems", "yaml_text", "key_paths", "drawable"},
    "describe": {"config"},
    "augment": {"augment"},
    "models": {"models"},
    "data": {"data", "augment.ops", "seeds"},
    "bilevel": {"bilevel", "augment", "data", "seeds"},
}
"""Part of the package -> what of the package it may know. Parts not named here are the service's side."""

OWNED_BY: dict[str, set[str]] = {
    "ray": {"service", "benchmarks.ray_loader"},
    "optuna": {"service.store", "service.sampling", "service.shown", "service.pruning", "service.importance"},
    # A model of MLflow is loaded by running a file that imports it.
    "mlflow": {"tracking.mlflow_store", "tracking.mlflow_runs", "tracking.mlflow_models", "tracking.augmenter_model"},
    "psutil": {"tracking.machine", "service.cluster"},
    "safetensors": {"augment.export"},
    "yaml": {"yaml_text"},
    "pydantic": {"config", "problems", "drawable", "study_file"},
    "pydantic_core": {"config", "problems", "study_file"},
    "dabo_ray.build": {"build", "study", "rehearsal", "driver", "service", "benchmarks"},
    "dabo_ray.service": {"service", "study", "shelf", "rehearsal", "driver", "report", "benchmarks"},
    "dabo_ray.driver": {"study"},
}
"""Module -> the only parts of the package that import it."""

LIGHT = {"config", "problems", "yaml_text", "key_paths", "drawable", "study_file", "describe"}
HEAVY = {"torch", "ray", "mlflow", "optuna", "numpy", "scipy", "sklearn"}
"""What a study file is checked without."""


def sources() -> dict[str, str]:
    """Module name below dabo_ray -> source text."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {".".join(file.relative_to(PACKAGE).with_suffix("").parts): file.read_text() for file in files}


def source_of(module: str) -> str:
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py").read_text()


def imported(source: str) -> Iterator[str]:
    """Every module or name that a source imports, wherever in it; `from a import b` counts as a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not read here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_in(name: str, parts: set[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def wrong_imports(modules: dict[str, str]) -> list[str]:
    wrong = set()
    for module, source in modules.items():
        part = module.partition(".")[0]
        for name in imported(source):
            siblings = MAY_IMPORT.get(part)
            is_sibling = siblings is not None and name.startswith("dabo_ray.")
            if is_sibling and not is_in(name.removeprefix("dabo_ray."), siblings or set()):
                wrong.add(f"{module} imports {name}")
            for owned, owners in OWNED_BY.items():
                if is_in(name, {owned}) and not is_in(module, owners):
                    wrong.add(f"{module} imports {name}")
            if part in LIGHT and is_in(name, HEAVY):
                wrong.add(f"{module} imports {name}")
    return sorted(wrong)


def test_imports_point_one_way():
    assert not wrong_imports(sources())


def test_every_part_is_looked_at():
    parts = {name.partition(".")[0] for name in sources()}
    assert MAY_IMPORT.keys() <= parts
    assert all(is_in(owner, parts) for owners in OWNED_BY.values() for owner in (o.partition(".")[0] for o in owners))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("bilevel.loop", "import ray"),
        ("bilevel.loop", "from ray import train"),
        ("bilevel.inner", "def f():\n    import mlflow.entities"),
        ("augment.ops", "import yaml"),
        ("augment.ops", "from dabo_ray.data.sources import Images"),
        ("augment.ops", "import dabo_ray.seeds"),
        ("models.resnet", "from dabo_ray.config import Classifier"),
        ("models.resnet", "from dabo_ray import build"),
        ("data.splits", "import optuna"),
        ("data.splits", "from dabo_ray.augment.fixed import Identity"),
        ("data.splits", "from dabo_ray.bilevel.loop import Training"),
        ("data.sources", "from pydantic import BaseModel"),
        ("config.study", "from dabo_ray.seeds import derive"),
        ("config.study", "from dabo_ray import trials"),
        ("config.study", "import torch"),
        ("study_file", "from dabo_ray import build"),
        ("driver", "import ray"),
        ("study", "from ray.tune import Tuner"),
        ("service.tune", "import optuna"),
        ("service.plan", "import mlflow"),
        ("tracking.mlflow", "import mlflow"),
        ("service.folder", "import yaml"),
        ("tracking.results", "from dabo_ray.service.plan import read_results"),
        ("tracking.figures.arms", "from dabo_ray.build import make_training"),
        ("report", "from dabo_ray.build import make_study_pools"),
        ("service.worker", "from dabo_ray.driver import Driver"),
    ],
)
def test_a_wrong_import_is_seen(module: str, line: str):
    assert not wrong_imports({module: source_of(module)})
    assert len(wrong_imports({module: f"{source_of(module)}\n{line}\n"})) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("data.shift", "from dabo_ray.augment import ops"),
        ("bilevel.loop", "from dabo_ray.data import loader"),
        ("service.trial", "import ray.tune"),
        ("driver", "from dabo_ray.build import make_study_pools"),
    ],
)
def test_a_right_import_is_let_through(module: str, line: str):
    assert not wrong_imports({module: f"{source_of(module)}\n{line}\n"})


@pytest.mark.parametrize("module", ["driver", "service.trial"])
def test_a_study_does_not_wait_for_what_it_may_never_need(module: str):
    """Each takes up to a second, before the first trial in the driver and again in every process of trials."""
    late = ["torchvision", "torch._dynamo", "sympy", "matplotlib", "mlflow", "sklearn"]
    asked = f"import sys, dabo_ray.{module}; print(sorted(set({late}) & sys.modules.keys()))"
    told = subprocess.run([sys.executable, "-c", asked], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
