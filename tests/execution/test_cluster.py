"""Which Ray a study runs on."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private import services

from dabo_ray.commands.process import ExitCode
from dabo_ray.execution import cluster_probe, placement_groups
from dabo_ray.execution.cluster import check_cluster, connected
from dabo_ray.study import main

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.mark.parametrize(
    ("address", "started"), [(None, [("local",)]), ("local", [("local",)]), ("auto", [(), ()])], ids=str
)
def test_it_starts_its_own_ray_unless_it_is_told_which_to_join(address, started, monkeypatch: pytest.MonkeyPatch):
    """Ray joins any cluster that it finds on the machine if it is told nothing: another study's, which ends with it."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(ray, "init", lambda *args, **options: calls.append(args))
    monkeypatch.setattr(ray, "cluster_resources", dict)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    left = []
    monkeypatch.setattr(placement_groups, "this_job", lambda: "01000000")
    monkeypatch.setattr(placement_groups, "remove_those_of_nobody", lambda: [])
    monkeypatch.setattr(placement_groups, "remove_those_of", lambda job: left.append((job, len(calls))))
    with connected(verbose=True, dashboard=False):
        pass
    assert calls == started
    # One that was joined is joined once more when the study has left it, to leave nothing behind.
    assert left == ([("01000000", 2)] if address == "auto" else [])


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_cluster_that_is_gone_is_told_before_anything_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.chdir(tmp_path)
    assert main([str(STUDIES / "digits.yaml")]) == ExitCode.BAD_INPUT
    assert f"RAY_ADDRESS is {address}, and no Ray answers at " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("ray://head:10001", "does not run through Ray Client; run it on a node"),
        ("head", "is head; give HOST:PORT or auto, or unset RAY_ADDRESS"),
        ("auto", "no Ray runs on this node; start one"),
    ],
)
def test_addresses_without_a_cluster(address: str, told: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    # Other tests' clusters on the machine are not to be found.
    monkeypatch.setattr(services, "find_gcs_addresses", set)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda temp_dir: None)
    with pytest.raises(ConnectionError, match=told):
        check_cluster()


def test_a_port_where_something_else_answers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster_probe, "SECONDS", 5.0)
    with socket.create_server(("", 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(ConnectionError, match="does not answer as a Ray cluster does"):
            check_cluster()
    monkeypatch.delenv("RAY_ADDRESS")
    check_cluster()


@pytest.fixture
def gcs_port(tmp_path: Path) -> Iterator[int]:
    """The port of a cluster's gcs_server alone, which is what a token is told to."""
    port = free_port()
    program = Path(ray.__file__).parent / "core" / "src" / "ray" / "gcs" / "gcs_server"
    options = [
        f"--gcs_server_port={port}",
        f"--log_dir={tmp_path}",
        f"--node-ip-address={services.get_node_ip_address()}",
    ]
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 32}
    options += [f"--session-name=test-{port}", f"--config_list={base64.b64encode(b'{}').decode()}"]
    with subprocess.Popen([program, *options], env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and server.poll() is None:
                with suppress(OSError):
                    socket.create_connection((services.get_node_ip_address(), port), timeout=1).close()
                    break
                time.sleep(0.1)
            yield port
        finally:
            server.kill()


@pytest.mark.ray
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "b" * 32}, "that in RAY_AUTH_TOKEN"),
        ({"RAY_AUTH_MODE": "token"}, "that in ~/.ray/auth_token, if there is one"),
        ({}, "that in ~/.ray/auth_token, if there is one"),
    ],
)
def test_a_cluster_that_refuses_the_token(given, told, gcs_port: int, tmp_path, monkeypatch, capsys):
    """One error, and nothing is begun."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "empty"
    folder.mkdir()
    for name, value in {**given, "HOME": str(folder), "RAY_ADDRESS": f"127.0.0.1:{gcs_port}"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    assert main([str(STUDIES / "digits.yaml")]) == ExitCode.BAD_INPUT
    words = capsys.readouterr().err
    assert f"refuses the token of this process, {told}; put the cluster's token" in words
    assert "bbbb" not in words and "Traceback" not in words
    assert not list(folder.iterdir())
