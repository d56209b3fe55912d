"""Watch over Ray's own processes: when one is gone, Tune waits for ever, or Ray ends this process after a minute."""

from __future__ import annotations

import time
from typing import Any

import psutil  # type: ignore[import-untyped]
from ray import tune

from dabo_ray.execution.plan_hooks import NotPickled

NEEDED = ("gcs_server", "raylet")
"""Without these nothing can be scheduled."""

SECONDS_BETWEEN_LOOKS = 0.5


class RayGone(BaseException):
    """A process of Ray's own has ended; says which."""


class RayWatch(NotPickled, tune.Callback):  # type: ignore[misc]
    """Ends Tune's run when one of Ray's own processes has ended. Those of a cluster are others' to watch."""

    def __init__(self) -> None:
        named = {child: child.name() for child in psutil.Process().children()}
        self._processes = {child: name for child, name in named.items() if name in NEEDED}
        self._looked_at = time.monotonic()

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Looks, every half second.

        Raises:
            RayGone: a process has ended.
        """
        if time.monotonic() - self._looked_at < SECONDS_BETWEEN_LOOKS:
            return
        self._looked_at = time.monotonic()
        for process, name in self._processes.items():
            if not _is_alive(process):
                raise RayGone(f"its {name} (process {process.pid}) has ended")


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
