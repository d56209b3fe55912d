"""Watch over the cluster while a study runs: what trials wait for, nodes that are lost, resources that nobody uses."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray import tune

from dabo_ray.analysis.wording import duration
from dabo_ray.execution import placement_groups
from dabo_ray.execution.placement_groups import Group, in_words
from dabo_ray.execution.plan_hooks import NotPickled
from dabo_ray.trials import Observer

SECONDS_BETWEEN_LOOKS = 10.0

SECONDS_BEFORE_TOLD = 20.0
"""In which a group that has all it needs is placed, and Ray Train frees the group of a controller that was lost."""


class ClusterWatch(NotPickled, tune.Callback):  # type: ignore[misc]
    """Tells the observers how the cluster is, and frees what a lost controller of Ray Train holds.

    Args:
        observers: of the study.
        clock: seconds since any moment.
    """

    def __init__(self, observers: Sequence[Observer], clock: Callable[[], float] = time.monotonic) -> None:
        self._observers = observers
        self._clock = clock
        self._looked_at = clock()
        self._seen: dict[str, float] = {}
        """Group that waits or is an orphan -> since when."""
        self._nodes: dict[str, str] = {}
        """Node that is alive -> in words."""
        self._words = ""

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Looks, every ten seconds."""
        if self._clock() - self._looked_at < SECONDS_BETWEEN_LOOKS:
            return
        self._looked_at = self._clock()
        # Of a Ray that does not answer, others tell.
        with suppress(ray.exceptions.RayError, ConnectionError, RuntimeError):
            self.look(placement_groups.groups(), ray.nodes(), ray.cluster_resources(), ray.available_resources())

    def look(
        self,
        groups: Sequence[Group],
        nodes: Sequence[Mapping[str, Any]],
        resources: Mapping[str, float],
        free: Mapping[str, float],
    ) -> None:
        """Takes in how the cluster stands, each part as Ray gives it."""
        ours = [group for group in groups if group.job == placement_groups.this_job()]
        unhappy = [group for group in ours if group.is_orphan or not group.is_placed]
        self._seen = {group.id: self._seen.get(group.id, self._clock()) for group in unhappy}
        old = [group for group in unhappy if self._clock() - self._seen[group.id] >= SECONDS_BEFORE_TOLD]
        placement_groups.remove(group for group in old if group.is_orphan)
        self._tell_waiting([group for group in old if not group.is_orphan], resources, free)
        self._tell_nodes(nodes)

    def _tell_waiting(self, groups: Sequence[Group], resources: Mapping[str, float], free: Mapping[str, float]) -> None:
        words = ""
        if groups:
            wanted: Counter[str] = Counter()
            for group in groups:
                wanted.update(group.wanted)
            since = self._clock() - min(self._seen[group.id] for group in groups)
            there = in_words({name: resources.get(name, 0.0) for name in wanted})
            words = (
                f"waiting for {in_words(wanted)} since {duration(since)}; the cluster has {there}, free are "
                f"{in_words({name: free.get(name, 0.0) for name in wanted})}"
            )
        if words or self._words:
            for observer in self._observers:
                observer.waiting(words)
        self._words = words

    def _tell_nodes(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        alive = {
            node["NodeID"]: f"{node['NodeManagerAddress']} ({in_words(_countable(node['Resources']))})"
            for node in nodes
            if node["Alive"]
        }
        changes = [f"the cluster has lost node {words}" for node, words in self._nodes.items() if node not in alive]
        if self._nodes:
            changes += [f"node {words} has joined" for node, words in alive.items() if node not in self._nodes]
        self._nodes = alive
        for change in changes:
            for observer in self._observers:
                observer.cluster_changed(change)


def _countable(resources: Mapping[str, float]) -> dict[str, float]:
    return {name: amount for name, amount in resources.items() if name in ("CPU", "GPU")}
