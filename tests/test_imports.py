"""Imports point one way, and each outside package has its owners. Read from the source, nothing is imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "dabo_ray"

IMPORTS: dict[str, set[str]] = {
    "storage": set(),
    "seeds": set(),
    "workers": set(),
    "transfer": set(),
    "faults": set(),
    "trials": set(),
    "importing": set(),
    "models": {"importing"},
    "config": {"importing", "storage"},
    "augment": {"seeds", "storage", "transfer"},
    "data": {"augment", "importing", "seeds", "storage", "transfer", "workers"},
    "bilevel": {"augment", "data", "seeds", "transfer", "workers"},
    "assembly": {"augment", "bilevel", "config", "data", "importing", "models", "seeds", "trials", "workers"},
    "analysis": {"augment", "storage", "trials"},
    "reporting": {"analysis", "augment", "config", "storage", "trials"},
    "tracking": {"analysis", "augment", "config", "faults", "storage", "trials"},
    "planning": {"analysis", "config", "seeds", "storage", "trials"},
    "execution": {
        *(
            "analysis",
            "assembly",
            "augment",
            "bilevel",
            "config",
            "data",
            "faults",
            "planning",
            "reporting",
            "seeds",
            "storage",
        ),
        *("trials", "workers"),
    },
    "commands": {
        *("analysis", "assembly", "augment", "config", "data", "execution", "planning", "reporting", "storage"),
        *("faults", "importing", "models", "tracking", "trials"),
    },
    "benchmarks": {
        *("analysis", "assembly", "augment", "bilevel", "config", "data", "execution", "planning", "seeds", "storage"),
        *("tracking", "trials", "workers"),
    },
    "__main__": {"commands"},
    "study": {"commands", "config", "execution", "planning", "report", "tracking"},
    "results": {"analysis", "augment", "config", "planning", "reporting", "storage", "trials"},
    "report": {"analysis", "commands", "config", "planning", "reporting", "storage", "tracking"},
    "init": {"commands", "config", "storage", "tracking"},
    "prepare": {"commands", "config", "data", "tracking"},
    "bench": {"benchmarks", "commands", "reporting"},
}
"""Part of the package -> the other parts that it imports, no more and no fewer."""

EXPORTED = ("augment.transform", "augment.pictures", "augment.moving")
"""What a learned transform needs beside torch."""

OWNED_BY: dict[str, set[str]] = {
    "ray": {"execution", "benchmarks.ray_loader"},
    "optuna": {"planning", "analysis.importance"},
    "sqlalchemy": {"planning.trial_store", "tracking.mlflow_database", "storage.database_driver"},
    # A model of MLflow is loaded by running a file that imports it.
    "mlflow": {
        *("tracking.mlflow_database", "tracking.mlflow_store", "tracking.mlflow_runs", "tracking.mlflow_models"),
        *("tracking.mlflow_datasets", "tracking.augmenter_model"),
    },
    "psutil": {"tracking.machine", "execution.cluster", "execution.ray_watch"},
    "triton": {"bilevel.double_backward.batch_norm_kernels"},
    "filelock": {"storage.lock"},
    "safetensors": {"augment.export"},
    "yaml": {"config.yaml"},
    "pydantic": {"config"},
    "pydantic_core": {"config.errors"},
    "jinja2": {"reporting.writer"},
    "matplotlib": {"reporting", "augment.description", "augment.transform"},
    "pandas": {"results"},
    "rich": {
        "bench",
        "report",
        "commands.compare",
        "commands.run",
        "prepare",
        "reporting.arms_table",
        "reporting.terminal_table",
        "tracking.activity",
        "tracking.progress",
    },
    "pyarrow": {"analysis.results", "data", "benchmarks.ray_loader"},
    "PIL": {*EXPORTED, "data", "tracking.mlflow_runs", "benchmarks"},
    "scipy": {"analysis.statistics", "analysis.effects", "data.folders"},
    "sklearn": {"data.sources"},
    "timm": {"models.given"},
    "torchvision": {*EXPORTED, "augment.fixed_transform", "models.imagenet", "prepare", "benchmarks"},
    "numpy": {*EXPORTED[:2], "analysis", "data", "execution.keepsakes", "reporting", "tracking", "benchmarks"},
    "torch": {
        *(
            "augment",
            "models",
            "data",
            "bilevel",
            "assembly",
            "execution",
            "benchmarks",
            "bench",
            "transfer",
            "workers",
        ),
        *("commands.run", "commands.dry_run", "commands.first_look", "tracking.augmenter_model"),
    },
}
"""Outside package -> the parts that import it; there are no others."""

HEAVY = {"torch", "ray", "mlflow", "optuna", "numpy", "scipy", "sklearn"}
"""What a study file is checked without."""


def sources() -> dict[str, str]:
    """Module name below dabo_ray -> source text."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {".".join(file.relative_to(PACKAGE).with_suffix("").parts): file.read_text() for file in files}


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


def edges(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Part of the package -> the other parts that it imports. The package's own names are at everyone's hand."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for module, source in modules.items():
        part = module.partition(".")[0]
        if part == "__init__":
            continue
        parts = {name.split(".")[1] for name in imported(source) if name.startswith("dabo_ray.")}
        found[part] |= parts - {part, "__version__"}
    return dict(found)


def misplaced(modules: Mapping[str, str]) -> list[str]:
    """Imports of outside packages by modules that do not own them, and of packages that nobody owns."""
    wrong = set()
    for module, source in modules.items():
        for name in imported(source):
            package = name.partition(".")[0]
            if package == "dabo_ray" or package in sys.stdlib_module_names:
                continue
            if not is_in(module, OWNED_BY.get(package, set())):
                wrong.add(f"{module} imports {name}")
            if module.startswith("config.") and package in HEAVY:
                wrong.add(f"{module} imports {name}")
    return sorted(wrong)


def module_graph(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Module -> modules that it imports; a name of a module counts as the module."""
    names = {module.removesuffix(".__init__") for module in modules}
    graph: dict[str, set[str]] = {}
    for module, source in modules.items():
        here = module.removesuffix(".__init__")
        found = set()
        for name in imported(source):
            inner = name.removeprefix("dabo_ray.")
            if inner != name:
                found.add(inner if inner in names else inner.rpartition(".")[0])
        graph[here] = found & names - {here}
    return graph


def test_every_edge_is_allowed_and_every_allowed_edge_is_there():
    assert edges(sources()) == IMPORTS


def test_no_circle_of_parts():
    assert tuple(TopologicalSorter(IMPORTS).static_order())


def test_no_circle_of_modules():
    modules = {name: source for name, source in sources().items() if name != "__init__"}
    assert tuple(TopologicalSorter(module_graph(modules)).static_order())


def test_outside_packages_have_their_owners():
    assert not misplaced(sources())


def test_every_owner_owns():
    """No entry outlives its import."""
    used = {(name.partition(".")[0], module) for module, source in sources().items() for name in imported(source)}
    idle = [
        (package, owner)
        for package, owners in OWNED_BY.items()
        for owner in owners
        if not any(name == package and is_in(module, {owner}) for name, module in used)
    ]
    assert not idle


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("bilevel.step", "import ray"),
        ("bilevel.sgd", "def f():\n    import mlflow.entities"),
        ("augment.functional", "import yaml"),
        ("data.splits", "import optuna"),
        ("data.splits", "from pydantic import BaseModel"),
        ("config.schema.study", "import torch"),
        ("commands.run", "import ray"),
        ("study", "from ray.tune import Tuner"),
        ("execution.tune", "import optuna"),
        ("planning.plan", "import mlflow"),
        ("planning.plan", "import ray"),
        ("tracking.mlflow", "import mlflow"),
        ("commands.open_folder", "import yaml"),
        ("models.resnet", "import a_package_that_nobody_owns"),
    ],
)
def test_a_misplaced_import_is_seen(module: str, line: str):
    source = sources()[module]
    assert not misplaced({module: source})
    assert len(misplaced({module: f"{source}\n{line}\n"})) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("augment.functional", "from dabo_ray.data.sources import Images"),
        ("models.resnet", "from dabo_ray import assembly"),
        ("config.schema.study", "def f():\n    from dabo_ray import trials"),
        ("tracking.mlflow", "from dabo_ray.planning.plan import read_results"),
        ("execution.worker", "import dabo_ray.commands.run"),
    ],
)
def test_a_new_edge_is_seen(module: str, line: str):
    modules = sources()
    modules[module] += f"\n{line}\n"
    assert edges(modules) != IMPORTS


def test_a_circle_is_seen():
    modules = {"a": "from dabo_ray.b import c", "b": "def f():\n    from dabo_ray import a"}
    with pytest.raises(ValueError, match="cycle"):
        tuple(TopologicalSorter(module_graph(modules)).static_order())


@pytest.mark.parametrize("module", ["commands.run", "execution.trial"])
def test_a_study_does_not_wait_for_what_it_may_never_need(module: str):
    """Each takes up to a second, before the first trial in the driver and again in every process of trials."""
    late = ["torchvision", "torch._dynamo", "sympy", "matplotlib", "mlflow", "sklearn"]
    asked = f"import sys, dabo_ray.{module}; print(sorted(set({late}) & sys.modules.keys()))"
    told = subprocess.run([sys.executable, "-c", asked], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
