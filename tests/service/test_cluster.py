"""Which Ray a study runs on."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from dabo_ray.service.cluster import connected


@pytest.mark.parametrize(("address", "started"), [(None, ("local",)), ("auto", ())])
def test_it_starts_its_own_ray_unless_it_is_told_which_to_join(address, started, monkeypatch: pytest.MonkeyPatch):
    """Ray joins any cluster that it finds on the machine if it is told nothing: another study's, which ends with it."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(ray, "init", lambda *args, **options: calls.append(args))
    monkeypatch.setattr(ray, "cluster_resources", dict)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with connected(verbose=True, dashboard=False):
        pass
    assert calls == [started]
