"""--dry-run trains a few batches of every arm and adds up what the study would take."""

from __future__ import annotations

import io

from rich.console import Console

from dabo_ray.assembly import make_study_pools
from dabo_ray.commands.dry_run import dry_run
from dabo_ray.tracking.activity import Activity


def test_every_arm_is_tried(make_study):
    study = make_study(
        "baselines=[none, {name: flip, tune: {vertical: {choice: [true, false]}}}]",
        "search.trials=5",
        "final={top: 2, seeds: 3}",
        "bilevel.inner_steps=3",
    )
    activity = Activity("", console=Console(file=io.StringIO()))
    told = dry_run(study, make_study_pools(study), activity).splitlines()
    assert activity.describe().startswith("measuring frozen, arm 4 of 4: 4 of 4")
    counts = {line.split()[0]: int(line.split()[1]) for line in told[1:5]}
    assert counts == {"none": 4, "flip": 5, "learned": 5 + 2 * 3, "frozen": 6}
    assert told[5].startswith("in all: ") and "worker-hours" in told[5]
