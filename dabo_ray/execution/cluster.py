"""Ray cluster that a study runs on: the one that RAY_ADDRESS names, or a local one that ends with the study."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from dabo_ray.execution import signals

LOCAL_TRIALS = 1024
"""Trial processes that a local Ray admits; CPUs and GPUs are the real limit."""

QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_THRESHOLD_S": "1000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


ANSWER_SECONDS = 5.0
"""In which a cluster that is there takes a connection."""

SECONDS_TO_END = 2.0
"""What Ray's processes are given to end by themselves when it has been shut down."""


def check_cluster() -> None:
    """Whether the Ray that RAY_ADDRESS names is there and takes this process; Ray itself would try for minutes.

    Raises:
        ConnectionError: it is not, or does not; says what was tried and what to change.
    """
    address = _address()
    if address is None:
        return
    otherwise = "or unset RAY_ADDRESS for a Ray of the study's own"
    if address.startswith("ray://"):
        raise ConnectionError(
            f"RAY_ADDRESS is {address}, and a study does not run through Ray Client; run it on a node of the cluster "
            f"with RAY_ADDRESS=auto, {otherwise}"
        )
    from ray._private.services import canonicalize_bootstrap_address

    from dabo_ray.execution.cluster_probe import refusal

    try:
        place = canonicalize_bootstrap_address(address)
    except ValueError:
        raise ConnectionError(f"RAY_ADDRESS is {address}; give HOST:PORT or auto, {otherwise}") from None
    except ConnectionError:
        raise ConnectionError(
            f"RAY_ADDRESS is {address}, and no Ray runs on this node; start one (`ray start`, `ray up`), {otherwise}"
        ) from None
    assert place is not None
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise ConnectionError(
            f"RAY_ADDRESS is {address}, and no Ray answers at {place} ({error}); start the cluster (`ray start`, "
            f"`ray up`), {otherwise}"
        ) from None
    if why := refusal(place):
        raise ConnectionError(f"RAY_ADDRESS is {address}, and {why}, {otherwise}")


@contextmanager
def connected(*, verbose: bool, dashboard: bool) -> Iterator[Mapping[str, float]]:
    """Connects to Ray, and leaves it at the end; gives the cluster's resources.

    Args:
        verbose: let Ray's own messages through.
        dashboard: of a local Ray. Ray Train frees the resources of a lost worker group only where the dashboard's
            process answers.
    """
    os.environ.update({"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"} if verbose else QUIET)
    # Trials go on from their own checkpoints; a hung one must not hold its resources for Ray's ten minutes.
    os.environ.setdefault("TUNE_FORCE_TRIAL_CLEANUP_S", "60")
    if not verbose:
        warnings.filterwarnings("ignore", module="ray")
        for name in ("ray", "ray.tune", "ray.train", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    import ray

    options = {"log_to_driver": verbose, "logging_level": logging.INFO if verbose else logging.CRITICAL}
    if not verbose:
        # Warnings of Ray's own processes come to standard output whatever is asked of `init`.
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
    if _address() is None:
        with _started(partial(_start_own, dashboard, options)):
            yield ray.cluster_resources()
        return
    with _joined(partial(ray.init, **options)):
        yield ray.cluster_resources()


@contextmanager
def _joined(join: Callable[[], object]) -> Iterator[None]:
    """Joins a cluster, and leaves nothing in it: neither workers nor placement groups, whatever ends the study."""
    import ray

    from dabo_ray.execution import placement_groups

    job = ""
    try:
        with _started(join):
            job = placement_groups.this_job()
            for line in placement_groups.remove_those_of_nobody():
                print(line, file=sys.stderr)
            yield
    finally:
        if job:
            # A controller of Ray Train may make another group while the job ends, and then nobody removes it.
            with signals.deferred(), suppress(ConnectionError, ray.exceptions.RayError), _started(join):
                placement_groups.remove_those_of(job)


def _start_own(dashboard: bool, options: Mapping[str, Any]) -> None:
    import ray

    from dabo_ray.execution.tune import TRIAL_RESOURCE

    resources = {TRIAL_RESOURCE: LOCAL_TRIALS}
    # `local`: without it Ray joins a cluster that it finds on the machine, such as that of another study.
    ray.init("local", resources=resources, include_dashboard=dashboard, dashboard_host="127.0.0.1", **options)
    # Whoever reads this file can run code in the cluster; Ray writes it under the user's mask.
    token = Path.home() / ".ray" / "auth_token"
    if token.is_file():
        token.chmod(0o600)


@contextmanager
def _started(start: Callable[[], object]) -> Iterator[None]:
    """Starts Ray, and ends it with all of its processes: agents that are just starting outlive it by half a minute."""
    import ray

    this = psutil.Process()
    before, daemons = this.children(), []
    try:
        # Interrupted half-way, Ray leaves processes behind, or ends this one by a segmentation fault. Its handler of
        # SIGTERM aborts this process.
        with signals.deferred(), signals.handler_kept(signal.SIGTERM):
            try:
                start()
            finally:
                daemons = [process for process in this.children() if process not in before]
        yield
    finally:
        processes = [process for daemon in daemons for process in _with_descendants(daemon)]
        ray.shutdown()
        for process in psutil.wait_procs(processes, timeout=SECONDS_TO_END)[1]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _with_descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _address() -> str | None:
    """The cluster to join; None for a Ray of the study's own."""
    address = os.environ.get("RAY_ADDRESS")
    return None if address in ("", "local") else address
