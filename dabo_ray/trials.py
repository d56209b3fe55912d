"""Trials and their results: plain values that the plan, the workers and the records share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol

LEARNED = "learned"
FROZEN = "frozen"

SCORES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "mean_iou": "mean IoU",
    "mean_dice": "mean Dice",
}
"""What trials may be judged by -> in words. All are percentages, and more is better."""


class Phase(StrEnum):
    """The part of a study that a trial belongs to."""

    BASELINES = "baselines"
    """Every baseline once, scored on `select`."""

    SEARCH = "search"
    """The settings that the sampler tries, scored on `select`; may be pruned."""

    FINAL = "final"
    """The top settings and every baseline on fresh seeds, scored on `test` once."""


class Outcome(StrEnum):
    """How a trial stands; every started trial ends in one of the last three.

    A fault of the machine ends no trial: it stays RUNNING, and the next driver goes on with it.
    """

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One training run of a study."""

    name: str
    """Unique in its study and a valid folder name, e.g. `search-0003` or `final-learned-1-seed-2`."""

    phase: Phase

    arm: str
    """What is compared in the end: a baseline's name, also with `-equal-cost`; `learned` in the search, then
    `learned-<rank>` and `frozen-<rank>` in the final phase."""

    method: str
    """`learned`; `frozen`: with the distribution that its origin learned; or a key of the baselines."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the study file, by key path: `{"bilevel.inner_steps": 4}`."""

    seed: int

    epochs: int
    """Epochs to train, >= 1."""

    score: str = "accuracy"
    """What it is judged by, a key of `SCORES`."""

    origin: str | None = None
    """In the final phase: the trial of an earlier phase whose setting this repeats; of a frozen one, the final trial
    that learned its distribution."""

    @property
    def select_metric(self) -> str:
        """Name of its score on the select images."""
        return f"select_{self.score}"

    @property
    def test_metric(self) -> str:
        """Name of its score on the test images."""
        return f"test_{self.score}"

    @property
    def seed_index(self) -> int:
        """Place of its seed among those of the final phase, counted from 0, as its name says; 0 in other phases."""
        _, found, index = self.name.partition("-seed-")
        return int(index.partition("-")[0]) if found else 0

    def to_dict(self) -> dict[str, Any]:
        """The trial as JSON values; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Trial:
        """The trial that `to_dict` wrote."""
        return cls(**{**values, "phase": Phase(values["phase"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialResult:
    """How a trial stands or ended."""

    trial: Trial
    outcome: Outcome
    reason: str = ""
    """Why it failed or was pruned; of a running trial, which fault of the machine it waits behind until the study is
    gone on with. Empty for a complete trial."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    """The record of its last epoch; see `Observer.epoch_ended` for the names."""


class Observer(Protocol):
    """Whoever follows a study: the progress display, the MLflow tracker. Called in the driver, in order."""

    def trial_started(self, trial: Trial) -> None:
        """A trial was handed to Ray. After a resume it may be one that was started before."""

    def epoch_ended(self, trial: Trial, metrics: Mapping[str, float]) -> None:
        """An epoch was trained.

        `metrics` holds `epoch` (1-based), `seconds` (of training so far), `gpu_hours` (those times GPUs; in a study
        without, times workers), `peak_memory_mib` (of the first worker, so far), `train_loss`, `learning_rate`; unless
        the phase is final, `select_<score>` for every score of the task (percent); at the last epoch of the final
        phase, `test_<score>` (percent); of a frozen trial also `learning_seconds`, those of its origin, which `seconds`
        counts too; for learned augmenters also the learned distribution (`rotation_spread_deg`, ...) and, from the end
        of the warm-up on, `outer_loss` and `hypergradient_norm`.
        """

    def waiting(self, words: str) -> None:
        """What trials wait for, in words, told again and again as long as they do; empty once they do not."""

    def cluster_changed(self, words: str) -> None:
        """A node was lost or has joined, in words."""

    def trial_ended(self, result: TrialResult) -> None:
        """A trial ended, in whichever way, or is left to the next driver: RUNNING, with a fault of the machine."""
