"""Training of trials in a process: an order to bring a trial to an epoch, and the answer to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from dabo_ray.assembly import make_study_pools, make_training
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.bilevel.finite import Diverged
from dabo_ray.bilevel.training import Record, Training
from dabo_ray.config.key_paths import with_settings
from dabo_ray.config.schema import DataConfig, ResourcesConfig, StudyConfig
from dabo_ray.data.splits import Pools
from dabo_ray.execution.checkpoint import load_checkpoint, load_learned, mend_after_a_kill, save_checkpoint
from dabo_ray.execution.keepsakes import keep_pictures_and_network
from dabo_ray.execution.memory import PeakMemory
from dabo_ray.faults import describe, machine_fault
from dabo_ray.planning.budget import gpu_hours
from dabo_ray.storage.layout import StudyFolder, TrialFolder
from dabo_ray.trials import FROZEN, Trial
from dabo_ray.workers import Workers


@dataclass(frozen=True)
class Order:
    """Bring a trial to an epoch. May be given again, to a process that knows nothing of what was done before."""

    study: StudyConfig
    folder: Path
    """The study's folder."""

    trial: Trial
    epoch: int


@dataclass(frozen=True)
class Answer:
    """What came of an order."""

    record: Record
    failure: str = ""
    """Why the trial cannot go on; empty if it can."""

    renew: bool = False
    """Whether the process may be in a bad state after this failure."""

    is_of_machine: bool = False
    """Whether a fault of the machine is the reason, which says nothing about the trial."""


class PeerLost(Exception):
    """Another worker of the trial is gone; this one cannot go on alone."""


class Runner:
    """Trains one trial after another in this process; data stay in memory between trials.

    Args:
        workers: of the trial, which share its batches.
        device: where to train.
    """

    def __init__(self, workers: Workers, device: torch.device) -> None:
        self.workers = workers
        self.device = device
        self._pools: tuple[tuple[DataConfig, int], Pools] | None = None
        self._name = ""
        self._learning_seconds = 0.0
        self._memory = PeakMemory(device)
        self._records: list[Record] = []
        self._training: Training | None = None
        self._epochs: Iterator[Record] = iter(())

    @classmethod
    def alone(cls) -> Runner:
        """A runner that has whole batches, on the GPU if there is one for this process."""
        return cls(Workers(), torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    def answer(self, order: Order) -> Answer:
        """The record of the epoch asked for; a failure of the trial is an answer, not an error.

        Raises:
            PeerLost: another worker of the trial is gone.
        """
        try:
            return Answer(self._advance(order))
        except Diverged as error:
            self._name = ""
            return Answer(self._last_record(), str(error))
        except PeerLost:
            raise
        except torch.OutOfMemoryError as error:
            self._name = ""
            return Answer(self._last_record(), self._describe_too_large(order, error), renew=True)
        except Exception as error:
            self._name = ""
            fault = machine_fault(error)
            return Answer(self._last_record(), fault or describe(error), renew=True, is_of_machine=bool(fault))

    def _describe_too_large(self, order: Order, error: torch.OutOfMemoryError) -> str:
        batch_size = with_settings(order.study, order.trial.settings).classifier.batch_size
        peak = self._memory.mib()
        had = "" if peak is None else f" after a peak of {peak:.0f} MiB"
        return f"the GPU's memory is too small for classifier.batch_size {batch_size}{had} ({describe(error)})"

    def _last_record(self) -> Record:
        return self._records[-1] if self._records else {}

    def _advance(self, order: Order) -> Record:
        folder = StudyFolder(order.folder).trial(order.trial.name)
        if self._name != order.trial.name:
            self._begin(order, folder)
        assert self._training is not None
        while len(self._records) < order.epoch:
            records = [*self._records, self._with_costs(next(self._epochs), order.study.resources)]
            if self.workers.rank == 0:
                save_checkpoint(folder, self._training.state_dict(), records)
            # What could not be saved does not count: a process that goes on from the checkpoint has never seen it.
            self._records = records
        if order.epoch == order.trial.epochs and self.workers.rank == 0:
            keep_pictures_and_network(self._training, order.study, order.trial, folder)
        return self._records[order.epoch - 1]

    def _begin(self, order: Order, folder: TrialFolder) -> None:
        self._name, self._records, self._training = "", [], None
        self._memory.reset()
        study = with_settings(order.study, order.trial.settings)
        key = (study.data, study.seed)
        if self._pools is None or self._pools[0] != key:
            self._pools = key, make_study_pools(study)
        training = make_training(
            study,
            order.trial,
            self._pools[1],
            workers=self.workers,
            device=self.device,
            learned=self._learned(order),
        )
        if (saved := load_checkpoint(folder)) is not None:
            state, self._records = saved
            training.load_state_dict(state)
        if self.workers.rank == 0:
            mend_after_a_kill(folder, self._records)
        self._training = training
        self._epochs = training.epochs()
        self._name = order.trial.name

    def _learned(self, order: Order) -> Augmenter | None:
        """What a frozen trial augments with."""
        self._learning_seconds = 0.0
        if order.trial.method != FROZEN:
            return None
        assert order.trial.origin is not None
        augmenter, self._learning_seconds = load_learned(StudyFolder(order.folder).trial(order.trial.origin))
        return augmenter

    def _with_costs(self, record: Record, resources: ResourcesConfig) -> Record:
        """The record of an epoch with what it took; that of a frozen trial counts what its origin took to learn."""
        seconds = record["seconds"] + self._learning_seconds
        costs = {"seconds": seconds, "gpu_hours": gpu_hours(resources, seconds)}
        if self._learning_seconds:
            costs["learning_seconds"] = self._learning_seconds
        if (peak := self._memory.mib()) is not None:
            costs["peak_memory_mib"] = peak
        return record | costs
