"""Independent random streams from one seed, the same on every machine and in every process."""

from __future__ import annotations

import hashlib


def derive(seed: int, *purpose: str | int) -> int:
    """A seed in [0, 2**63) for one purpose: other purposes and other seeds give unrelated ones."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
