"""Placement groups of a cluster: what waits for resources, and what is held for jobs that have ended.

Ray Train makes a group for the workers of a trial. One that its controller makes while the job ends belongs to nobody:
Ray removes it with no job, and an autoscaler starts nodes for it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

SECONDS_TO_LOOK_AGAIN = 1.0
"""In which an ending job may make another group."""

UNIT = {"memory": 2**30, "object_store_memory": 2**30}
"""Of resources that are counted in bytes, what people count them in."""


@dataclass(frozen=True)
class Group:
    """A placement group that was not removed."""

    id: str
    """In hexadecimal."""

    job: str
    """That made it, in hexadecimal."""

    wanted: Mapping[str, float]
    """Resource -> amount, over all its bundles."""

    is_placed: bool
    """Whether it has its resources; otherwise it waits for them."""

    is_of_nobody: bool
    """Whether the job that made it has ended, though it was not to outlive it."""

    is_orphan: bool
    """Whether the actor that made it has ended: Ray keeps such a group until the job ends too."""


def groups() -> list[Group]:
    """The placement groups of the cluster that this process is connected to."""
    from ray._private.state import jobs, state
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData as Data

    ended = {job["JobID"] for job in jobs() if job["IsDead"]}
    found = []
    for content in state._connect_and_get_accessor().get_placement_group_table():
        data = Data.FromString(content)
        if data.state == Data.REMOVED:
            continue
        wanted: Counter[str] = Counter()
        for bundle in data.bundles:
            wanted.update(dict(bundle.unit_resources))
        job, maker = data.creator_job_id.hex(), data.creator_actor_id
        found.append(
            Group(
                id=data.placement_group_id.hex(),
                job=job,
                wanted=wanted,
                is_placed=data.state == Data.CREATED,
                # What Ray itself knows of the job is not looked at again for a group that comes after its end.
                is_of_nobody=not data.is_detached and (data.creator_job_dead or job in ended),
                is_orphan=not data.is_detached and data.creator_actor_dead and any(byte < 0xFF for byte in maker),
            )
        )
    return found


def this_job() -> str:
    """The job of this process, in hexadecimal."""
    return str(ray.get_runtime_context().get_job_id())


def remove(unwanted: Iterable[Group]) -> None:
    """Removes groups; what runs in them is ended."""
    for group in unwanted:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group.id))))


def remove_those_of_nobody() -> list[str]:
    """Removes what is held for jobs that have ended; a line for people on each."""
    unwanted = [group for group in groups() if group.is_of_nobody]
    remove(unwanted)
    return [
        f"removed a placement group of {in_words(group.wanted)} that "
        f"{'was held' if group.is_placed else 'waited'} for a job that has ended"
        for group in unwanted
    ]


def remove_those_of(job: str) -> None:
    """Removes the groups of a job, also those that it makes while this happens."""
    while unwanted := [group for group in groups() if group.job == job]:
        remove(unwanted)
        time.sleep(SECONDS_TO_LOOK_AGAIN)


def in_words(resources: Mapping[str, float]) -> str:
    """As in "3 CPUs and 1 GPU"."""
    return " and ".join(_parts(resources)) or "nothing"


def _parts(resources: Mapping[str, float]) -> Iterator[str]:
    for name, amount in sorted(resources.items()):
        if name in UNIT:
            yield f"{amount / UNIT[name]:.1f} GiB of {name.replace('_', ' ')}"
        else:
            yield f"{amount:g} {name}{'s' if name in ('CPU', 'GPU') and amount != 1 else ''}"
