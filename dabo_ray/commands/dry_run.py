"""Dry run of a study: a few batches of every arm in this process, and what the whole study would take by them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from dabo_ray.analysis.wording import duration
from dabo_ray.assembly import RANDOM, make_training
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.splits import Pools
from dabo_ray.execution.memory import PeakMemory
from dabo_ray.planning.budget import gpu_hours
from dabo_ray.reporting.terminal_table import as_text, make_table
from dabo_ray.tracking.activity import Activity
from dabo_ray.trials import FROZEN, LEARNED, Phase, Trial

REPEATS = 3
"""Rounds of batches that are timed, after one that is not."""


@dataclass(frozen=True)
class ArmCost:
    """What the trials of a method are expected to take."""

    method: str
    trials: int
    seconds: float
    """Of training, of each trial."""

    peak_memory_mib: float | None


def dry_run(study: StudyConfig, pools: Pools, activity: Activity) -> str:
    """Trains a few batches of every arm and shows what the study would take, over several lines.

    Args:
        study: to be tried.
        pools: its images.
        activity: told which arm is measured.

    Raises:
        Diverged: an arm does not survive its first batches.
    """
    costs = measured(study, pools, activity)
    table = make_table({"arm": "left", "trials": "right", "each": "right", "memory": "right"}, map(_cells, costs))
    seconds = sum(cost.trials * cost.seconds for cost in costs)
    hours = gpu_hours(study.resources, seconds)
    unit = "GPU-hours" if study.resources.gpus_per_worker else "worker-hours"
    return (
        f"{as_text(table)}\nin all: {duration(seconds)} of training one after another, {hours:.2g} {unit}\n"
        "measured on one worker here, with the settings of the file; start-up and scoring come on top;\n"
        "of a learned arm every update is counted as one in which its augmenter is learned, so it may take less"
    )


def measured(study: StudyConfig, pools: Pools, activity: Activity) -> list[ArmCost]:
    """What the trials of each arm would take, by a few batches here; arguments and errors as of `dry_run`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(study.resources.cpus_per_worker)
    arms = [(method, trials) for method, trials in _arms(study) if trials]
    costs = []
    for number, (method, trials) in enumerate(arms, 1):
        activity.now(f"measuring {method}, arm {number} of {len(arms)}")
        costs.append(_cost(study, pools, method, trials, device, activity))
    return costs


def _cells(cost: ArmCost) -> tuple[str, ...]:
    memory = "-" if cost.peak_memory_mib is None else f"{cost.peak_memory_mib:.0f} MiB"
    return cost.method, str(cost.trials), duration(cost.seconds), memory


def _arms(study: StudyConfig) -> Iterator[tuple[str, int]]:
    """Each arm with the number of its trials."""
    final, search = study.final, study.search
    for label in study.arms:
        yield label, len(study.settings_to_try(label)) + final.seeds
    learned = search.trials * search.repeats if final.top else 0
    # A baseline at equal cost takes what a learned trial takes.
    yield LEARNED, learned + (final.top + len(final.equal_cost)) * final.seeds
    yield FROZEN, final.top * final.seeds if final.frozen else 0


def _cost(
    study: StudyConfig, pools: Pools, method: str, trials: int, device: torch.device, activity: Activity
) -> ArmCost:
    memory = PeakMemory(device)
    memory.reset()
    trial = Trial(
        name=f"dry-run-{method}",
        phase=Phase.BASELINES,
        arm=method,
        method=_method(study, method),
        seed=study.seed,
        epochs=study.classifier.epochs,
    )
    # What is timed is the step after the warm-up, the dearest.
    bilevel = study.bilevel.model_copy(update={"warmup_fraction": 0.0, "warmup_loss": None})
    training = make_training(study.model_copy(update={"bilevel": bilevel}), trial, pools, device=device)
    # So many that one of them is followed by an update of the augmenter, if that is learned.
    round_of = training.learner.inner_steps if training.learner is not None else 1
    number, times = 0, []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        for _ in range(round_of):
            training.step(number % len(training.fit))
            number += 1
            activity.count(number, round_of * (1 + REPEATS))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append((time.perf_counter() - start) / round_of)
    seconds = sorted(times[1:])[REPEATS // 2] * len(training.fit) * trial.epochs
    return ArmCost(method, trials, seconds, memory.mib())


def _method(study: StudyConfig, arm: str) -> str:
    """The method to try: what is frozen costs the same whatever it has learned."""
    if arm == FROZEN:
        return RANDOM
    return arm if arm == LEARNED else study.method_of(arm)
