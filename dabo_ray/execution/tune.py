"""Execution of a plan by Ray Tune: placement, retries, autoscaling."""

from __future__ import annotations

import logging
import shutil
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.exceptions import RaySystemError
from ray.tune.search import Searcher

from dabo_ray.config.file import with_absolute_paths
from dabo_ray.config.schema import ResourcesConfig, StudyConfig
from dabo_ray.execution.checkpoint import remove_checkpoints
from dabo_ray.execution.cluster_watch import ClusterWatch
from dabo_ray.execution.plan_hooks import Errors, PlanScheduler, PlanSearcher
from dabo_ray.execution.ray_watch import RayGone, RayWatch
from dabo_ray.execution.signals import handler_kept
from dabo_ray.execution.trial import StudyTrial
from dabo_ray.faults import error_in_a_task, machine_fault, process_fault
from dabo_ray.planning.phases import NoTrial
from dabo_ray.planning.plan import Plan
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import Observer, Outcome, Trial, TrialResult

TRIAL_RESOURCE = "TRIAL"
"""Custom resource that trial processes take instead of CPUs, which their workers need."""

RETRIES = 2
"""So often a trial that a fault of the machine has stopped is started again, from its checkpoint."""

SECONDS_BEFORE_RETRY = 5.0
"""In which a passing fault may pass."""

_LOG = logging.getLogger("dabo_ray")


class StudyExecution:
    """The execution of a study: hands trials from the plan to Tune, and what comes back to the plan and the observers.

    Args:
        plan: what to run.
        folder: the study's folder.
        observers: are told of every start, epoch and end.
    """

    def __init__(self, plan: Plan, folder: Path, observers: Sequence[Observer]) -> None:
        self.plan = plan
        self.folder = folder
        self.observers = observers
        # Tune starts each trial in a folder of its own.
        self._study = with_absolute_paths(plan.study).model_dump_json(by_alias=True)
        self._trials: dict[str, Trial] = {}
        self._stopped: dict[str, str] = {}
        self._records: dict[str, dict[str, float]] = {}
        """Trial name -> its last record."""
        self._losses: dict[str, str] = {}
        """Trial id in Tune -> Ray's words about the last process that it lost."""
        self._faults: Counter[str] = Counter()
        """Trial name -> how often a fault of the machine has stopped it."""
        self._resting_until = 0.0
        self.num_epochs = 0
        """Epochs heard of in this start."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The config of the next trial, None to wait, or Tune's mark that there are no more."""
        if time.monotonic() < self._resting_until:
            return None
        trial = self.plan.next()
        if trial is NoTrial.DONE:
            return str(Searcher.FINISHED)
        if not isinstance(trial, Trial):
            return None
        self._trials[trial_id] = trial
        self._records.setdefault(trial.name, {})
        for observer in self.observers:
            observer.trial_started(trial)
        return {"study": self._study, "folder": str(self.folder), "trial": trial.to_dict()}

    def epoch_ended(self, trial_id: str, record: dict[str, float]) -> bool:
        """Takes a record; whether the trial should stop. One that was heard before is passed over."""
        trial = self._trials[trial_id]
        if not record or record["epoch"] <= self._records[trial.name].get("epoch", 0):
            return False
        reason = self.plan.report(trial.name, record)
        # Not before: an epoch that the plan could not take is told again.
        self._records[trial.name] = record
        self.num_epochs += 1
        for observer in self.observers:
            observer.epoch_ended(trial, record)
        if reason:
            self._stopped[trial_id] = reason
        return trial_id in self._stopped

    def trial_ended(self, trial_id: str, outcome: Outcome, reason: str) -> None:
        """Notes the end of a trial; with RUNNING, that a fault of the machine has stopped it."""
        if trial_id in self._stopped:
            outcome, reason = Outcome.PRUNED, self._stopped.pop(trial_id)
        trial = self._trials.pop(trial_id)
        if outcome is Outcome.RUNNING:
            if self._try_again_or_leave(trial.name, reason):
                _LOG.warning("%s was stopped: %s. It is tried again from its last epoch.", trial.name, reason)
                self._resting_until = time.monotonic() + SECONDS_BEFORE_RETRY
            return
        self._tell_end(self.plan.finish(trial.name, outcome, self._records[trial.name], reason))
        if not self.plan.is_suspended(trial.name):
            remove_checkpoints(StudyFolder(self.folder).trial(trial.name))

    def _try_again_or_leave(self, name: str, fault: str) -> bool:
        self._faults[name] += 1
        if self._faults[name] > RETRIES:
            self._leave(name, fault)
            return False
        self.plan.take_back(name)
        return True

    def ray_stopped(self, fault: str) -> None:
        """Takes in that a fault of the machine has ended Ray's run, and whatever was running with it."""
        self._trials.clear()
        self._stopped.clear()
        for name in self.plan.running:
            self._try_again_or_leave(name, fault)
        self._resting_until = time.monotonic() + SECONDS_BEFORE_RETRY

    def process_lost(self, trial_id: str, words: str) -> None:
        """Takes in, in Ray's words, that a trial's process has ended by itself; Tune starts it again."""
        self._losses[trial_id] = words

    def trial_lost(self, trial_id: str) -> None:
        """Leaves a trial to the next driver, since Tune has tried it again and again; an error of its own fails it."""
        words = self._losses.pop(trial_id, "")
        error = error_in_a_task(words)
        fault = machine_fault(RuntimeError(error))
        if error and not fault:
            self.trial_ended(trial_id, Outcome.FAIL, error)
            return
        lost = f"{process_fault(words)} (its process was lost {RETRIES + 1} times)"
        self._leave(self._trials.pop(trial_id).name, fault or lost)

    def _leave(self, name: str, fault: str) -> None:
        self._tell_end(self.plan.leave(name, self._records[name], fault))

    def _tell_end(self, result: TrialResult) -> None:
        del self._records[result.trial.name]
        for observer in self.observers:
            observer.trial_ended(result)


class DoesNotFitError(ValueError):
    """The cluster is too small for a trial."""


def concurrent_trials(resources: ResourcesConfig, available: Mapping[str, float]) -> int:
    """How many trials fit at once.

    Args:
        resources: of the study.
        available: of the cluster, as `ray.cluster_resources()` gives them.

    Raises:
        DoesNotFitError: `auto`, and not one trial fits.
    """
    if resources.concurrent_trials != "auto":
        return resources.concurrent_trials
    workers = 1 if resources.workers == "local" else resources.workers
    needs = {"CPU": workers * resources.cpus_per_worker, "GPU": workers * resources.gpus_per_worker}
    fitting = min(int(available.get(kind, 0) // need) for kind, need in needs.items() if need)
    if fitting < 1:
        wanted = " and ".join(f"{need:g} {kind}s" for kind, need in needs.items() if need)
        present = " and ".join(f"{available.get(kind, 0):g} {kind}s" for kind, need in needs.items() if need)
        raise DoesNotFitError(
            f"a trial needs {wanted} (resources.workers x per worker) but the cluster has {present}; lower "
            "resources.workers, resources.cpus_per_worker or resources.gpus_per_worker, or, on a cluster that grows on "
            "demand, set resources.concurrent_trials to a number"
        )
    return fitting


def run(study: StudyConfig, execution: StudyExecution, concurrent: int) -> None:
    """Runs the study to its end on the Ray that this process is connected to.

    Raises:
        KeyboardInterrupt: Ctrl-C; the trials have been stopped.
        Exception: what the plan, an observer or Ray raised; the trials have been stopped.
    """
    resources = study.resources
    if resources.workers == "local":
        needs = {"CPU": resources.cpus_per_worker, "GPU": resources.gpus_per_worker, TRIAL_RESOURCE: 1}
    else:
        needs = {"CPU": 0, TRIAL_RESOURCE: 1}
    scratch, errors = StudyFolder(execution.folder).tune, Errors()
    # Tune writes an experiment of its own; the plan is the one that is kept.
    shutil.rmtree(scratch, ignore_errors=True)
    tuner = tune.Tuner(
        tune.with_resources(StudyTrial, needs),
        tune_config=tune.TuneConfig(
            search_alg=PlanSearcher(execution, errors),
            scheduler=PlanScheduler(execution, errors),
            num_samples=-1,
            max_concurrent_trials=concurrent,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=scratch.name,
            storage_path=str(execution.folder),
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            callbacks=[errors, RayWatch(), ClusterWatch(execution.observers)],
            verbose=0,
        ),
    )
    # Tune leaves its handler behind, which would swallow a Ctrl-C while the report is written.
    try:
        with handler_kept(signal.SIGINT):
            tuner.fit()
    except RayGone as gone:
        raise RaySystemError(str(gone)) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if not execution.plan.is_done:
        # Tune takes the first Ctrl-C to itself, and returns as if all were done.
        raise KeyboardInterrupt
