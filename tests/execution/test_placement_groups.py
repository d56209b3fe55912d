"""A study that is interrupted while it waits for workers leaves nothing in the cluster. With a real one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

STUDIES = Path(__file__).parents[2] / "studies"
SECONDS_TO_START = 120


@pytest.fixture
def head(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster of one CPU."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    # Ray's sockets need a short path.
    scratch = f"/tmp/dabo-{port}"
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", f"--port={port}", "--num-cpus=1"]
    command += ['--resources={"TRIAL": 16}', "--dashboard-host=127.0.0.1", f"--temp-dir={scratch}"]
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS_TO_START)
    address = f"127.0.0.1:{port}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    try:
        yield address
    finally:
        # `ray stop` would end every Ray of the machine.
        subprocess.run(["pkill", "-9", "-f", scratch], check=False)
        subprocess.run(["rm", "-rf", scratch], check=False)


def started(head: str, storage: Path, *overrides: str) -> tuple[subprocess.Popen[bytes], Path]:
    log = storage / "log"
    command = [sys.executable, "-m", "dabo_ray.study", str(STUDIES / "digits.yaml"), "--set", f"storage={storage}"]
    for override in overrides:
        command += ["--set", override]
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ}), log


def wait_for(words: str, log: Path) -> None:
    end = time.monotonic() + SECONDS_TO_START
    while words not in log.read_text(errors="replace"):
        assert time.monotonic() < end, log.read_text(errors="replace")
        time.sleep(0.5)


def groups(head: str) -> str:
    """The placement groups of the cluster; a process of its own, since Ray reads how to authenticate when it begins."""
    program = (
        f"import ray; ray.init({head!r}, log_to_driver=False, logging_level='CRITICAL')\n"
        "from dabo_ray.execution import placement_groups; print(placement_groups.groups())"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=STUDIES.parent, capture_output=True, text=True, check=True
    )
    return told.stdout.strip()


def test_a_study_leaves_no_placement_group(head: str, tmp_path: Path) -> None:
    """Train's controller makes its group anew while the job ends, and Ray would keep that one for ever."""
    too_large = ("resources.cpus_per_worker=3", "resources.concurrent_trials=1")
    process, log = started(head, tmp_path, *too_large)
    wait_for("waiting for 3 CPUs since", log)
    assert "; the cluster has 1 CPU, free are" in log.read_text()
    assert "'CPU': 3.0" in groups(head)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    # A job that has ended takes a moment to be known as dead.
    time.sleep(2)
    assert groups(head) == "[]"
