"""Provenance of a study's numbers: code, versions, hardware, time. Flat text values without secrets or host names."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from dabo_ray.config.addresses import SECRET_NAME, redact

PACKAGES = ("torch", "torchvision", "ray", "optuna", "mlflow")
UNKNOWN = "unknown"

_SECRET_OPTION = re.compile(rf"(?i)--?{SECRET_NAME}")


def collect(
    *,
    gpus: Sequence[str] = (),
    package: Path = Path(__file__).parents[1],
    command: Sequence[str] = tuple(sys.orig_argv),
    **facts: str,
) -> dict[str, str]:
    """What one needs to judge or repeat a study's numbers.

    Args:
        gpus: Names of the GPUs; given by the caller, since asking for them would import torch.
        package: The folder whose git commit counts.
        command: The command line of this process, interpreter first.
        facts: More facts to record, such as the digest of the data set; redacted like the rest.
    """
    commit, dirty = _git_state(package)
    found = {
        "commit": commit,
        "dirty": dirty,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "dabo_ray": _package_version(),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cpus": str(_num_cpus()),
        "memory_gib": _memory_gib(),
        "gpus": ", ".join(gpus) or "none",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command_line(command),
    }
    return found | {name: redact(str(value)) for name, value in facts.items()}


def _git_state(folder: Path) -> tuple[str, str]:
    """Commit and `true`/`false` for changed files, or unknown twice."""
    # A package installed below somebody else's checkout is not tracked there: that commit would say nothing about it.
    if not folder.is_dir() or _git(folder, "ls-files", "--", ".") in (None, ""):
        return UNKNOWN, UNKNOWN
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit or UNKNOWN, UNKNOWN if changes is None else str(bool(changes)).lower()


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _package_version() -> str:
    from dabo_ray import __version__

    return __version__


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine() or UNKNOWN


def _num_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> str:
    try:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f}"
    except (AttributeError, OSError, ValueError):
        return UNKNOWN


def _command_line(command: Sequence[str]) -> str:
    """The command as one would type it, without the interpreter's folder and without secrets."""
    words = ["python", *command[1:]]
    follows_secret_option = [False, *(_SECRET_OPTION.fullmatch(word) is not None for word in words[:-1])]
    return shlex.join(
        "***" if secret else redact(word) for word, secret in zip(words, follows_secret_option, strict=True)
    )
