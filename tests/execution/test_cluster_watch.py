"""What is told of a cluster while a study runs, and what is freed; what Ray says is written down here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from dabo_ray.execution import placement_groups
from dabo_ray.execution.cluster_watch import SECONDS_BEFORE_TOLD, SECONDS_BETWEEN_LOOKS, ClusterWatch
from dabo_ray.execution.placement_groups import Group, in_words

HERE = "01000000"


class Told:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.waits: list[str] = []
        self.changes: list[str] = []

    def waiting(self, words: str) -> None:
        self.waits.append(words)

    def cluster_changed(self, words: str) -> None:
        self.changes.append(words)


class Looked:
    """A watch whose time and cluster are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.told, self.removed = 0.0, Told(), list[str]()
        self.watch = ClusterWatch([self.told], clock=lambda: self.now)  # type: ignore[list-item]
        monkeypatch.setattr(placement_groups, "this_job", lambda: HERE)
        monkeypatch.setattr(placement_groups, "remove", self._remove)

    def _remove(self, unwanted: Iterable[Group]) -> None:
        self.removed += [group.id for group in unwanted]

    def at(self, now: float, groups: list[Group], nodes: list[dict[str, Any]] | None = None) -> None:
        self.now = now
        self.watch.look(groups, nodes or [node("a")], {"CPU": 8.0}, {"CPU": 1.0})


def group(name: str, **changes: Any) -> Group:
    usual = {"job": HERE, "wanted": {"CPU": 3.0}, "is_placed": False, "is_of_nobody": False, "is_orphan": False}
    return Group(id=name, **{**usual, **changes})


def node(name: str, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {
        "NodeID": name,
        "NodeManagerAddress": f"10.0.0.{name}",
        "Alive": alive,
        "Resources": {"CPU": 4.0, **resources},
    }


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Looked:
    return Looked(monkeypatch)


def test_what_is_waited_for_is_told_until_it_is_there(looked: Looked):
    wanted = [group("1"), group("2", wanted={"CPU": 1.0, "GPU": 2.0}), group("of others", job="02000000")]
    looked.at(0, wanted)
    looked.at(SECONDS_BEFORE_TOLD - 1, wanted)
    assert looked.told.waits == []
    looked.at(130, wanted)
    looked.at(140, [group("1", is_placed=True)])
    looked.at(150, [])
    assert looked.told.waits == [
        "waiting for 4 CPUs and 2 GPUs since 2 min 10 s; the cluster has 8 CPUs and 0 GPUs, free are 1 CPU and 0 GPUs",
        "",
    ]
    assert looked.removed == []


def test_a_group_whose_controller_was_lost_is_freed_if_nobody_else_does(looked: Looked):
    """Ray keeps it until the job ends, and with it the CPUs that the next group of the trial waits for."""
    orphan = group("1", is_placed=True, is_orphan=True)
    looked.at(0, [orphan])
    looked.at(SECONDS_BEFORE_TOLD - 1, [orphan])
    assert looked.removed == []
    looked.at(SECONDS_BEFORE_TOLD + 1, [orphan, group("of others", job="02000000", is_orphan=True)])
    assert looked.removed == ["1"] and looked.told.waits == []


def test_nodes_that_are_lost_or_join_are_told(looked: Looked):
    both = [node("1"), node("2", GPU=1.0)]
    looked.at(0, [], both)
    looked.at(10, [], both)
    assert looked.told.changes == []
    looked.at(20, [], [node("1"), node("2", alive=False)])
    looked.at(30, [], [node("1"), node("3")])
    assert looked.told.changes == [
        "the cluster has lost node 10.0.0.2 (4 CPUs and 1 GPU)",
        "node 10.0.0.3 (4 CPUs) has joined",
    ]


def test_ray_is_asked_now_and_then(monkeypatch: pytest.MonkeyPatch, looked: Looked):
    asked = []

    def groups() -> list[Group]:
        asked.append(looked.now)
        raise ConnectionError("gone")

    monkeypatch.setattr(placement_groups, "groups", groups)
    for second in range(25):
        looked.now = float(second)
        looked.watch.on_step_begin(second, [])
    assert asked == [SECONDS_BETWEEN_LOOKS, 2 * SECONDS_BETWEEN_LOOKS]


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"CPU": 1.0}, "1 CPU"),
        ({"GPU": 0.5, "CPU": 2.0}, "2 CPUs and 0.5 GPUs"),
        ({"memory": 3 * 2**30}, "3.0 GiB of memory"),
        ({"TRIAL": 1.0}, "1 TRIAL"),
        ({}, "nothing"),
    ],
)
def test_resources_in_words(resources: dict[str, float], words: str):
    assert in_words(resources) == words
