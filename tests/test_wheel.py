"""The wheel: a library without the service, typed, with what is not Python in it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from dabo_ray.__main__ import main

ROOT = Path(__file__).parents[1]


def names(lines: list[str]) -> set[str]:
    """Packages of a list of requirements."""
    return {re.split(r"[\[<>=; ]", line)[0].lower() for line in lines if line and not line.startswith(("#", "-"))}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    # Not in the checkout: a build leaves folders behind.
    source = folder / "source"
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, files):
        if name.startswith("dabo_ray/") or name in ("pyproject.toml", "README.md", "LICENSE"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source)], check=True
    )
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def metadata(wheel: zipfile.ZipFile) -> Message:
    name = next(name for name in wheel.namelist() if name.endswith("/METADATA"))
    return message_from_bytes(wheel.read(name))


def test_the_core_needs_no_service(wheel: zipfile.ZipFile):
    needed = metadata(wheel).get_all("Requires-Dist", [])
    core = names([line for line in needed if "extra ==" not in line])
    assert core == {"torch", "torchvision", "numpy", "safetensors", "filelock"}
    assert {"ray", "optuna", "mlflow"} <= names([line for line in needed if 'extra == "study"' in line])


def test_it_is_typed_and_has_template_and_command(wheel: zipfile.ZipFile):
    files = set(wheel.namelist())
    assert {"dabo_ray/py.typed", "dabo_ray/reporting/report.html.jinja"} <= files
    entry = next(name for name in files if name.endswith("entry_points.txt"))
    assert "dabo-ray = dabo_ray.__main__:run" in wheel.read(entry).decode()
    assert not any(name.startswith("tests/") for name in files)


def test_the_pinned_list_is_that_of_library_and_studies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for file, wanted in (
        ("requirements.txt", [*project["dependencies"], *extras["study"]]),
        ("tests/requirements.txt", extras["test"]),
    ):
        assert names((ROOT / file).read_text(encoding="utf-8").splitlines()) == names(wanted)


def test_the_command_hands_over(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert main(["report", str(tmp_path)]) == 2
    assert "is not the folder of a study" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["learn"])
    assert "study" in capsys.readouterr().err
