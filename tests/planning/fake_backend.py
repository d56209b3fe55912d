"""A backend of a few lines that trains nothing, runs a plan in milliseconds and can be killed between any two calls."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import optuna

from dabo_ray.config.schema import SearchConfig, StudyConfig
from dabo_ray.planning.phases import NoTrial
from dabo_ray.planning.plan import Plan
from dabo_ray.seeds import derive
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult

COSTS = {"seconds", "gpu_hours", "learning_seconds", "peak_memory_mib"}
"""What a record holds that depends on the machine."""

SECONDS = 0.5
"""Of an epoch."""

DIVERGED = "diverged at epoch 1, step 3"

STUDY: dict[str, Any] = {
    "study": "planned",
    "data": {"name": "digits"},
    "classifier": {"epochs": 4},
    "search": {
        "trials": 6,
        "sampler": "random",
        "pruner": {"name": "asha", "min_epochs": 1, "reduction_factor": 2},
        "space": {
            "bilevel.inner_steps": {"int": [1, 8], "log": True},
            "augmenter.hidden": {"choice": [8, 32, 128]},
            "augmenter.lr": {"float": [0.001, 0.1], "log": True},
        },
    },
    "baselines": ["none", "flip"],
    "final": {"top": 2, "seeds": 2},
}


def study_with(**changes: Any) -> StudyConfig:
    """The study with other values in `search`, or in the top level."""
    search = {key: changes.pop(key) for key in SearchConfig.model_fields.keys() & changes.keys()}
    return StudyConfig.model_validate({**STUDY, **changes, "search": {**STUDY["search"], **search}})


@cache
def empty_database() -> bytes:
    """A database with Optuna's tables and nothing in them, which takes most of a second to make."""
    with tempfile.TemporaryDirectory() as folder:
        optuna.storages.RDBStorage(f"sqlite:///{folder}/plan.db")
        return Path(folder, "plan.db").read_bytes()


def url_in(folder: Path) -> str:
    path = folder / "plan.db"
    if not path.exists():
        path.write_bytes(empty_database())
    return f"sqlite:///{path}"


def hashed_score(trial: Trial, epoch: int) -> float | None:
    """Any number, the same for the same trial; None would be a failure."""
    return 50 + 5 * epoch + derive(trial.seed, "score", epoch) % 1000 / 100


Score = Callable[[Trial, int], float | None]
T = TypeVar("T")


class Killed(Exception):
    """The backend's process is gone."""


class Backend:
    """Runs trials one after another, as Tune would.

    Args:
        study: what to run.
        url: where the plan is kept.
        score: of a trial at an epoch, or None if it fails there.
        trained: epochs trained, by trial: what checkpoints on disk would say. Given to the next backend after a kill.
        calls: to the plan before the backend is killed.
    """

    def __init__(
        self, study: StudyConfig, url: str, score: Score, trained: dict[str, int] | None = None, calls: float = math.inf
    ) -> None:
        self.plan = Plan(study, url)
        self.seconds = SECONDS
        self.score = score
        self.trained = {} if trained is None else trained
        self.calls_left = calls
        self.calls = 0
        self.issued: list[Trial] = []
        self.ended: list[TrialResult] = []

    def run(self) -> Backend:
        while isinstance(trial := self._call(self.plan.next), Trial):
            self.issued.append(trial)
            self.ended.append(self._run_trial(trial))
        assert trial is NoTrial.DONE
        return self

    def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        if self.calls_left == 0:
            raise Killed
        self.calls_left -= 1
        self.calls += 1
        return function(*arguments)

    def _run_trial(self, trial: Trial) -> TrialResult:
        metrics: dict[str, float] = {}
        epoch = max(1, self.trained.get(trial.name, 0))
        while True:
            if (score := self.score(trial, epoch)) is None:
                return self._call(self.plan.finish, trial.name, Outcome.FAIL, metrics, DIVERGED)
            self.trained[trial.name] = epoch
            metrics = {"epoch": float(epoch), "seconds": self.seconds * epoch}
            metrics["gpu_hours"] = metrics["seconds"] / 3600
            if trial.phase is not Phase.FINAL:
                metrics |= {trial.select_metric: score, "select_of_another_kind": -score}
            elif epoch == trial.epochs:
                metrics[trial.test_metric] = score
            if reason := self._call(self.plan.report, trial.name, metrics):
                return self._call(self.plan.finish, trial.name, Outcome.PRUNED, metrics, reason)
            if epoch == trial.epochs:
                return self._call(self.plan.finish, trial.name, Outcome.COMPLETE, metrics)
            epoch += 1


def summary_of(results: list[TrialResult]) -> list[tuple[Any, ...]]:
    """All that should not depend on interruptions, in a fixed order."""
    return sorted(
        (r.trial.name, repr(r.trial.to_dict()), r.outcome, r.reason, sorted(r.metrics.items())) for r in results
    )
