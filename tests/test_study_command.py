"""The command as a user meets it, in its own process: wrong files, --check, --help."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from dabo_ray.study import main

ROOT = Path(__file__).resolve().parents[1]
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Of Debian's package."""

HEAVY = {"torch", "ray", "mlflow", "optuna", "sklearn", "numpy", "scipy", "matplotlib", "pyarrow"}
MINIMAL = "study: s\ndata: {name: digits}\n"

# Tells what the process had imported when it ended; does not depend on how busy the machine is.
WITNESS = """
import atexit, json, os, sys
atexit.register(lambda: open(os.environ["IMPORTED"], "w").write(json.dumps(sorted(sys.modules))))
"""


@dataclass(frozen=True)
class Ended:
    """A run of the command."""

    code: int
    out: str
    err: str
    imported: set[str]
    """Top-level packages."""


Command = Callable[..., Ended]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs `python -m dabo_ray.study` in the empty folder `tmp_path / "work"`."""
    (tmp_path / "witness").mkdir()
    (tmp_path / "witness" / "sitecustomize.py").write_text(WITNESS)
    (tmp_path / "work").mkdir()

    def run(*arguments: str | Path) -> Ended:
        path = os.pathsep.join([str(tmp_path / "witness"), str(ROOT)])
        done = subprocess.run(
            [sys.executable, "-m", "dabo_ray.study", *map(str, arguments)],
            cwd=tmp_path / "work",
            env={**os.environ, "PYTHONPATH": path, "IMPORTED": str(tmp_path / "imported"), "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        imported = {name.partition(".")[0] for name in json.loads((tmp_path / "imported").read_text())}
        return Ended(done.returncode, done.stdout, done.stderr, imported)

    return run


@pytest.fixture
def refused(command: Command, tmp_path: Path) -> Callable[..., str]:
    """Runs the command and gives its message, having checked that it is a proper refusal."""

    def run(*arguments: str | Path) -> str:
        before = sorted(tmp_path.glob("work/**/*"))
        ended = command(*arguments)
        assert ended.code == 2, ended
        assert "Traceback" not in ended.err
        assert not ended.out
        assert not ended.imported & HEAVY
        assert sorted(tmp_path.glob("work/**/*")) == before
        return ended.err

    return run


WRONG: dict[str, tuple[str | bytes, Sequence[str]]] = {
    "misspelt key": (MINIMAL + "classifier: {epohcs: 3}", ["classifier.epohcs: unknown key; did you mean epochs?"]),
    "key of another section": (MINIMAL + "classifier: {inner_steps: 3}", ["did you mean bilevel.inner_steps?"]),
    "wrong type": (MINIMAL + "classifier: {epochs: many}", ["classifier.epochs: got 'many'", "whole number"]),
    "fraction for a count": (MINIMAL + "classifier: {epochs: 3.5}", ["classifier.epochs: got 3.5", "whole number"]),
    "out of range": (MINIMAL + "classifier: {momentum: 1.5}", ["classifier.momentum: got 1.5", "0 and under 1"]),
    "unknown data set": ("study: s\ndata: {name: svhn}", ["data.name: got 'svhn'", "fashion_mnist"]),
    "empty file": ("", ["is empty", "study: NAME"]),
    "not YAML": ("study: [", ["not valid YAML in line 1"]),
    "not UTF-8": (b"study: \xff", ["cannot read", "not UTF-8"]),
    "a list": ("- study: s", ["`key: value` lines", "a list"]),
    "key twice": (MINIMAL + "study: t", ["line 3", "'study' stands twice"]),
    "no truncation": (MINIMAL + "bilevel: {truncation: 0}", ["bilevel.truncation: got 0", "from 1 to 64"]),
    "splits over 1": (
        "study: s\ndata: {name: digits, outer_fraction: 0.6, select_fraction: 0.5}",
        ["data: outer_fraction 0.6 and select_fraction 0.5", "sum must stay under 1"],
    ),
    "searched key that is none": (
        MINIMAL + "search: {space: {augmenter.hiden: {int: [1, 3]}}}",
        ["search.space.augmenter.hiden", "did you mean augmenter.hidden?"],
    ),
    "empty range": (MINIMAL + "search: {space: {augmenter.hidden: {int: [5, 3]}}}", ["[5, 3] is empty"]),
    "end that is not allowed": (
        MINIMAL + "search: {space: {bilevel.truncation: {int: [0, 3]}}}",
        ["search.space.bilevel.truncation: may draw bilevel.truncation 0", "from 1 to 64"],
    ),
    "log range from 0": (
        MINIMAL + "search: {space: {augmenter.lr: {float: [0, 1], log: true}}}",
        ["search.space.augmenter.lr: log: true needs low > 0, got 0"],
    ),
    "space as a list": (MINIMAL + "search: {space: [augmenter.lr]}", ["search.space: got", "{float: [low, high]}"]),
    "baseline twice": (MINIMAL + "baselines: [none, flip, none]", ["baselines: names an arm twice"]),
    "top over trials": (MINIMAL + "final: {top: 5}", ["final.top: is 5, more than search.trials (1)"]),
    "part of a GPU for two": (
        MINIMAL + "resources: {workers: 2, gpus_per_worker: 0.5}",
        ["resources: gpus_per_worker 0.5 with workers 2", "workers to 1"],
    ),
    "yes for true": (MINIMAL + "classifier: {nesterov: yes}", ["classifier.nesterov: got 'yes'", "true or false"]),
    "text for a number": (MINIMAL + "classifier: {lr: '0.1'}", ["classifier.lr: got '0.1'", "without quotes"]),
    "section as text": ("study: s\ndata: digits", ["data: got 'digits' (text); give a section with the keys name"]),
    "no data": ("study: s", ["data: missing", "data: {name: digits}"]),
    "several": (
        "study: a b\ndata: {name: svhn}\nclassifier: {name: vgg, lr: -1}\nfinal: {top: 2}\nstorage: gs://x\n",
        [
            "has 6 problems",
            "study: ",
            "data.name: ",
            "classifier.name: ",
            "classifier.lr: ",
            "final.top: ",
            "storage: ",
        ],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files(case: str, refused: Callable[..., str], tmp_path: Path):
    text, words = WRONG[case]
    file = tmp_path / "work" / "study.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    message = refused("study.yaml")
    assert "study.yaml" in message
    assert not [word for word in words if word not in message], message


def test_a_file_that_is_not_there(refused: Callable[..., str]):
    assert "cannot read the study file nowhere.yaml: No such file" in refused("nowhere.yaml")


def test_a_folder_for_a_file(refused: Callable[..., str]):
    assert "cannot read the study file .: Is a directory" in refused(".")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("bilevel.truncation", "--set takes key.path=value"),
        ("study.name=x", "'study' is 's' (text), not a section"),
        ("search.trials=0", "study.yaml with --set search.trials=0 has 1 problem"),
    ],
)
def test_wrong_overrides(override: str, words: str, refused: Callable[..., str], tmp_path: Path):
    (tmp_path / "work" / "study.yaml").write_text(MINIMAL)
    assert words in refused("study.yaml", "--set", override)


def test_no_file_and_unknown_options(refused: Callable[..., str]):
    assert "FILE" in refused()
    assert "--chekc" in refused("study.yaml", "--chekc")


def test_scientific_notation_is_a_number(command: Command, tmp_path: Path):
    (tmp_path / "work" / "study.yaml").write_text(MINIMAL + "classifier: {lr: 1e-3}")
    assert command("study.yaml", "--check").code == 0


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_check_tells_the_plan(path: Path, command: Command, tmp_path: Path):
    """Of the data too, where they are here; nothing is written."""
    ended = command(path, "--check")
    text = path.read_text()
    is_here = (
        "name: segmentation_digits" in text
        or "digits," in text
        or ("name: fashion_mnist" in text and FASHION_MNIST.is_dir())
    )
    assert ended.code == (0 if is_here else 2), ended.err
    assert is_here or "not found" in ended.err or "is neither a folder nor a zip" in ended.err
    assert bool(re.search(r"of \d+ classes, ", ended.out)) == is_here
    assert "Traceback" not in ended.err and not ended.imported & {"ray", "mlflow", "optuna"}
    assert not list((tmp_path / "work").iterdir())
    first_words = [line.split()[0] for line in ended.out.splitlines()]
    assert {"study", "data", "baselines", "search", "final", "resources", "results"} <= set(first_words)


def test_help_has_examples(command: Command):
    ended = command("--help")
    assert ended.code == 0
    assert not ended.imported & HEAVY
    assert "python -m dabo_ray.study studies/digits.yaml --check" in ended.out
    assert "--resume" in ended.out and "exit codes" in ended.out


@pytest.mark.parametrize(
    "path", [path for path in STUDIES if path.stem.startswith("cifar")], ids=lambda path: path.stem
)
def test_data_that_is_not_there(path: Path, command: Command, tmp_path: Path):
    ended = command(path)
    assert ended.code == 2, ended
    assert "Traceback" not in ended.err
    title = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}[path.stem]
    assert title in ended.err and f"python -m dabo_ray.prepare {path.stem} --root data --download" in ended.err
    assert not ended.imported & {"ray", "mlflow"}
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data={name: image_folder, root: nowhere}", "nowhere is neither a folder nor a zip"),
        ("data.num_labels=90000", "data.num_labels is 90000, the data set has 1,347 labelled images"),
        ("classifier={name: resnet18_imagenet, weights: no.pth}", "cannot read the weights no.pth: No such file"),
    ],
)
def test_check_looks_at_data_and_weights(override: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "study.yaml").write_text(MINIMAL)
    assert main([str(tmp_path / "study.yaml"), "--check", "--set", override]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--check"]])
def test_a_baselines_file_that_cannot_be_used(options: list[str], command: Command, tmp_path: Path):
    work = tmp_path / "work"
    (work / "study.yaml").write_text(MINIMAL + "baselines: [none, {name: augmenter_file, path: learned.safetensors}]")
    (work / "learned.safetensors").write_bytes(b"no augmenter")
    ended = command("study.yaml", *options)
    assert ended.code == 2, ended
    assert "Traceback" not in ended.err
    assert "cannot use the augmenter file: learned.safetensors is damaged, or no safetensors file" in ended.err
    assert not ended.imported & {"ray", "mlflow"}
    assert {path.name for path in work.iterdir()} == {"study.yaml", "learned.safetensors"}


def test_an_interruption_while_code_is_made_is_one_like_others(command: Command, tmp_path: Path):
    """As in the import of a module with dataclasses: Python itself would end by the signal, though we caught it."""
    interrupting = """
import dabo_ray.config.file
def interrupted(*_):
    exec("raise KeyboardInterrupt")
dabo_ray.config.file.read_study = interrupted
"""
    (tmp_path / "witness" / "sitecustomize.py").write_text(WITNESS + interrupting)
    ended = command("any.yaml")
    assert (ended.code, ended.err) == (130, "Interrupted.\n")


def test_an_interruption_that_python_ignores_is_not_lost(command: Command, tmp_path: Path):
    interrupting = """
import signal
import dabo_ray.config.file
signal.signal(signal.SIGINT, signal.default_int_handler)
class Interrupting:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
read = dabo_ray.config.file.read_study
def interrupted(*arguments):
    Interrupting()
    return read(*arguments)
dabo_ray.config.file.read_study = interrupted
"""
    (tmp_path / "witness" / "sitecustomize.py").write_text(WITNESS + interrupting)
    (tmp_path / "work" / "study.yaml").write_text(MINIMAL)
    ended = command("study.yaml")
    assert ended.code == 130
    assert ended.err.splitlines()[-1] == "Interrupted." and "Traceback" not in ended.err
    assert not ended.imported & {"ray", "mlflow"}
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["study.yaml"]
