"""Tune's run ends when a process of Ray's own is gone. Without Ray: the process only has the name."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dabo_ray.execution import ray_watch
from dabo_ray.execution.ray_watch import NEEDED, RayGone, RayWatch


@pytest.mark.parametrize("name", NEEDED)
def test_a_process_that_is_gone_is_noticed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ray_watch, "SECONDS_BETWEEN_LOOKS", 0.0)
    program = shutil.copy("/bin/sleep", tmp_path / name)
    with subprocess.Popen([program, "60"]) as process:
        try:
            watch = RayWatch()
            watch.on_step_begin(1, [])
        finally:
            process.kill()
        # It has ended, and nobody has asked for its exit code, as nobody does of Ray's.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(RayGone, match=rf"its {name} \(process {process.pid}\) has ended"):
            watch.on_step_begin(2, [])
    with pytest.raises(RayGone):
        watch.on_step_begin(3, [])


def test_those_of_others_are_not_watched():
    watch = RayWatch()
    watch.on_step_begin(1, [])
    assert not watch._processes
