"""Tune trainable of a study: an epoch for each of Tune's results, one process for many trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import tune

from dabo_ray.config.schema import StudyConfig
from dabo_ray.execution.checkpoint import load_checkpoint
from dabo_ray.execution.worker import Answer, Order, Runner
from dabo_ray.execution.worker_group import WorkerGroup, WorkersLost
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import Outcome, Trial

GROUP_LOSSES = 1
"""So often a trial gets a new worker group for one that is lost."""


class StudyTrial(tune.Trainable):  # type: ignore[misc]
    """Trains in place (`workers: local`) or through a worker group that it keeps (`workers: 1..n`).

    Its config holds `study` (the resolved file as JSON), `folder` (the study's) and `trial`. Each result holds `record`
    (the epoch's metrics), `outcome` and `reason`; the last one of a trial that a fault of the machine stops is RUNNING.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Takes the first trial."""
        self._runner: Runner | WorkerGroup | None = None
        self._take(config)

    def _take(self, config: dict[str, Any]) -> None:
        self._study = StudyConfig.model_validate_json(config["study"])
        self._folder = Path(config["folder"])
        self._trial = Trial.from_dict(config["trial"])
        # A trial that a lost process left off is asked for its last epoch again: the driver may not have heard of it.
        saved = load_checkpoint(StudyFolder(self._folder).trial(self._trial.name))
        self._epoch = max(1, len(saved[1])) if saved else 1
        self._groups_lost = 0

    def _workers(self) -> Runner | WorkerGroup:
        if self._runner is None:
            self._runner = self._start_workers()
        return self._runner

    def _start_workers(self) -> Runner | WorkerGroup:
        if self._study.resources.workers != "local":
            return WorkerGroup(self._study.resources)
        import torch

        torch.set_num_threads(self._study.resources.cpus_per_worker)
        return Runner.alone()

    def step(self) -> dict[str, Any]:
        """Trains the next epoch."""
        order = Order(self._study, self._folder, self._trial, self._epoch)
        answer = self._carry_out(order)
        if answer.renew:
            self._close()
        if answer.failure:
            outcome = Outcome.RUNNING if answer.is_of_machine else Outcome.FAIL
            return {"record": answer.record, "outcome": outcome.value, "reason": answer.failure, "done": True}
        is_last = self._epoch >= self._trial.epochs
        self._epoch += 1
        outcome = Outcome.COMPLETE if is_last else Outcome.RUNNING
        return {"record": answer.record, "outcome": outcome.value, "reason": "", "done": is_last}

    def _carry_out(self, order: Order) -> Answer:
        while True:
            try:
                return self._workers().answer(order)
            except WorkersLost as error:
                self._groups_lost += 1
                if self._groups_lost > GROUP_LOSSES:
                    reason = f"its workers were lost again and again: {error}"
                    return Answer({}, reason, renew=True, is_of_machine=True)
                self._close()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next trial in the same process."""
        self._take(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Tune keeps nothing: the trial's folder has its checkpoint."""
        del checkpoint_dir
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """See `save_checkpoint`."""

    def cleanup(self) -> None:
        """Ends the workers with the process."""
        self._close()

    def _close(self) -> None:
        if isinstance(self._runner, WorkerGroup):
            self._runner.close()
        self._runner = None
