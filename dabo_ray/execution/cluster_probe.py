"""Whether a cluster takes this process: tried in a process of its own, since Ray waits, or ends the one that asks.

python -m dabo_ray.execution.cluster_probe HOST:PORT
"""

from __future__ import annotations

import os
import subprocess
import sys

from ray._common.usage.usage_lib import get_cluster_metadata
from ray._private.authentication.authentication_token_setup import (
    ensure_token_if_auth_enabled,
    maybe_enable_token_auth_if_token_available,
)
from ray._private.utils import check_version_info
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.exceptions import AuthenticationError

SECONDS = 30.0
"""In which a cluster answers; Ray itself tries for minutes."""

REFUSED, MISMATCH = 3, 4
"""Exit codes."""


def refusal(place: str) -> str:
    """Why the cluster does not take this process, and what to change; empty if it does.

    Args:
        place: its `HOST:PORT`, which takes connections.
    """
    command = [sys.executable, "-m", __name__, place]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"what listens at {place} does not answer as a Ray cluster does; look after it, or correct the address"
    if told.returncode == REFUSED:
        return (
            f"the cluster at {place} refuses the token of this process, {_token_source()}; put the cluster's token "
            "into a file and set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=FILE"
        )
    if told.returncode == MISMATCH:
        return f"the cluster at {place} is of other versions: {told.stdout.strip()}; use the same Ray and Python"
    if told.returncode:
        return f"what listens at {place} does not answer as a Ray cluster does; look after it, or correct the address"
    return ""


def _token_source() -> str:
    """Where Ray looks for the token here; the token itself is never told."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "that in RAY_AUTH_TOKEN"
    if path := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return f"that in {path}"
    return "that in ~/.ray/auth_token, if there is one"


def _try(place: str) -> int:
    try:
        # As `ray.init` does with an address.
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        ensure_token_if_auth_enabled(create_token_if_missing=False)
        metadata = get_cluster_metadata(GcsClient(address=place))
    except AuthenticationError:
        return REFUSED
    try:
        check_version_info(metadata, "this process")
    except RuntimeError as error:
        print(" ".join(str(error).split()))
        return MISMATCH
    return 0


if __name__ == "__main__":
    sys.exit(_try(sys.argv[1]))
