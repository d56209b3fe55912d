"""Studies small enough for tests, and the one Ray that the `ray` tier shares."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

from dabo_ray.config.file import apply_overrides, check_study
from dabo_ray.config.schema import StudyConfig

# For the processes that tests start: the two cores of a small machine are shared by several workers.
os.environ.setdefault("OMP_NUM_THREADS", "1")

StudyMaker = Callable[..., StudyConfig]

TINY: Mapping[str, Any] = {
    "study": "tiny",
    "data": {"name": "digits", "num_labels": 300},
    "classifier": {"width": 8, "epochs": 2, "batch_size": 64},
    "augmenter": {"hidden": 8},
    "search": {"trials": 2, "sampler": "random", "space": {"augmenter.lr": {"float": [0.001, 0.1], "log": True}}},
    "baselines": ["none"],
    "final": {"top": 1, "seeds": 1},
}
"""Five trials of two epochs, a fraction of a second each."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in one order, whatever the environment asks for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class StudyCommand:
    """The command on a tiny study file, in a folder of its own.

    Args:
        folder: where it runs and leaves its results.
        overrides: `key.path=value`, for the file.
    """

    def __init__(self, folder: Path, *overrides: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.results = folder / "runs" / "tiny"
        sections = apply_overrides(dict(TINY), overrides)
        text = yaml.safe_dump(sections, sort_keys=False)
        (folder / "tiny.yaml").write_text("# Question: does the command work?\n" + text)

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Starts it with its output piped, as the leader of a session."""
        return subprocess.Popen(
            [sys.executable, "-m", "dabo_ray.study", "tiny.yaml", *options],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Whoever starts the tests in the background of a script has them ignore Ctrl-C, and their children too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        with self.start(*options) as process:
            stdout, stderr = process.communicate(timeout=400)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def wait_for(self, path: str, process: subprocess.Popen[str]) -> None:
        """Waits until the running command has written a file below the study's folder."""
        deadline = time.monotonic() + 200
        while not (self.results / path).exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, f"no {path} in time"
            time.sleep(0.05)

    def mlflow_runs(self) -> tuple[Any, dict[str, list[str]]]:
        """The parent run, and for each trial's name the statuses of its runs."""
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.folder}/runs/mlflow.db")
        (experiment,) = (e for e in client.search_experiments() if e.name != "Default")
        runs = client.search_runs([experiment.experiment_id])
        (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
        children: dict[str, list[str]] = {}
        for run in runs:
            if run is not parent:
                assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
                children.setdefault(run.info.run_name, []).append(run.info.status)
        return parent, children


@pytest.fixture(scope="session")
def study_command() -> type[StudyCommand]:
    return StudyCommand


@pytest.fixture(scope="session")
def tiny_study() -> StudyMaker:
    """Makes a tiny study, for tests that say themselves where results go; arguments as for `make_study`."""
    return lambda *overrides: check_study(apply_overrides(dict(TINY), overrides), "the test's study")


@pytest.fixture
def make_study(tmp_path: Path) -> StudyMaker:
    """Makes a tiny study whose results go to the test's folder; arguments are `key.path=value` in YAML."""

    def make(*overrides: str) -> StudyConfig:
        return check_study(apply_overrides({**TINY, "storage": str(tmp_path / "runs")}, overrides), "the test's study")

    return make


class Process(NamedTuple):
    """A line of the system's table of processes."""

    pid: int
    parent: int
    session: int
    started: int
    title: str


def processes() -> list[Process]:
    """All processes but those that have ended, the oldest first."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            state, *fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if state != "Z":
            found.append(Process(int(folder.name), int(fields[0]), int(fields[2]), int(fields[18]), title))
    return sorted(found, key=lambda process: process.started)


@pytest.fixture(scope="session")
def processes_below() -> Callable[[int], list[Process]]:
    """Finds the children of a process, and theirs, the oldest first."""

    def below(pid: int) -> list[Process]:
        pids, found = {pid}, []
        for process in processes():
            if process.parent in pids:
                pids.add(process.pid)
                found.append(process)
        return found

    return below


@pytest.fixture(scope="session")
def local_ray() -> Iterator[Mapping[str, float]]:
    """A local Ray with two CPUs, as the service starts it; gives its resources."""
    from dabo_ray.execution.cluster import QUIET

    os.environ.update(QUIET)

    import ray

    from dabo_ray.execution.tune import TRIAL_RESOURCE

    ray.init(
        "local",
        num_cpus=2,
        resources={TRIAL_RESOURCE: 64},
        # Its process is asked by Ray Train before it frees the resources of a group whose controller was lost.
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        log_to_driver=False,
        logging_level=logging.CRITICAL,
    )
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """Debian's headless Chromium (packages chromium and chromium-driver)."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for option in (
        *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync"),
        *("disable-background-networking", "disable-component-update", "window-size=1400,2200"),
        f"user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(f"--{option}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()
