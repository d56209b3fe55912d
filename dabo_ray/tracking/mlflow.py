"""Tracker that follows a study and records it in MLflow, from a thread of its own."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dabo_ray.tracking.delivery import Delivery
from dabo_ray.tracking.machine import system_metrics
from dabo_ray.tracking.mlflow_models import AugmenterModels
from dabo_ray.tracking.mlflow_runs import RunStatus, StudyRuns
from dabo_ray.tracking.mlflow_store import MlflowStore, now_ms
from dabo_ray.tracking.mlflow_ui import ui_address
from dabo_ray.trials import LEARNED, Outcome, Phase, Trial, TrialResult

SECONDS_BETWEEN_LOGS = 5.0
SECONDS_BETWEEN_SYSTEM_METRICS = 30.0
MAX_MODELS = 3
"""Learned arms that become registered models."""


class Tracker:
    """Follows a study and writes it to MLflow from a thread of its own; no call but `close` ever waits or raises.

    `Delivery` tells what becomes of records that the store does not take. Epochs that a killed driver could not log are
    taken from the trials' record files, so calling `trial_ended` again for a trial of an earlier start only adds what
    is missing.

    Construct it after the big imports of the process: it imports MLflow in its thread.
    """

    def __init__(
        self,
        *,
        uri: str,
        study: str,
        study_dir: Path,
        description: str,
        params: Mapping[str, Any],
        provenance: Mapping[str, str],
        verbose: bool = False,
    ) -> None:
        """Start to open the store.

        Args:
            uri: Tracking URI: `sqlite:///...`, `http://...`, any database URL. Its secrets never leave this object.
            study: Name of the study, and of its experiment.
            study_dir: Folder of the study; trials' pictures and records are read below it, and the file that tells
                a resumed study from a new one of the same name is kept there.
            description: Markdown shown on the parent run; once there is an answer, below it.
            params: The resolved study by key path; logged once.
            provenance: Facts about code and machine; become tags of the parent run.
            verbose: Let MLflow's and its database layer's own messages through.
        """
        # MLflow reads these when it is imported or makes its first request; what the user has set wins.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # A request whose answer was lost may have made its run: who tries again has to look first. MLflow does not.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        if not verbose:
            os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
            os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        self._uri = uri
        self._store = MlflowStore(uri=uri, study=study, study_dir=study_dir, verbose=verbose)
        self._runs = StudyRuns(
            store=self._store,
            description=description,
            params=dict(params),
            provenance=dict(provenance),
            started_ms=now_ms(),
        )
        self._models = AugmenterModels(self._store)
        self._learned: list[TrialResult] = []
        self._watched_at = time.monotonic()
        system_metrics()  # the first call has no earlier one to measure the processors' load from
        self._epochs: dict[str, list[dict[str, float]]] = {}
        self._logged_at: dict[str, float] = {}
        self._finished = False
        self._delivery = Delivery(uri, self._store.answers)
        self._put = self._delivery.put
        self._put("the parent run", self._runs.open)

    def trial_started(self, trial: Trial) -> None:
        """Open the trial's run, or find it again."""
        self._put(f"the start of {trial.name}", partial(self._runs.start_trial, trial, now_ms()))

    def waiting(self, words: str) -> None:
        """Nothing to record."""

    def cluster_changed(self, words: str) -> None:
        """Nothing to record."""

    def epoch_ended(self, trial: Trial, metrics: Mapping[str, float]) -> None:
        """Log the metrics of an epoch at step `epoch`, unless that epoch is there already.

        Short epochs are logged together every few seconds: a call to the store costs as much as some of them.
        """
        self._epochs.setdefault(trial.name, []).append(dict(metrics))
        if time.monotonic() - self._logged_at.get(trial.name, -math.inf) >= SECONDS_BETWEEN_LOGS:
            self._log_epochs(trial)
        if time.monotonic() - self._watched_at >= SECONDS_BETWEEN_SYSTEM_METRICS:
            self._watched_at = time.monotonic()
            self._put("system metrics", partial(self._runs.log_system, system_metrics(), now_ms()))

    def _log_epochs(self, trial: Trial) -> None:
        records = self._epochs.pop(trial.name, [])
        self._logged_at[trial.name] = time.monotonic()
        if records:
            self._put(f"epochs of {trial.name}", partial(self._runs.log_epochs, trial, records, now_ms()))

    def trial_ended(self, result: TrialResult) -> None:
        """Complete the trial's run with epochs that are missing, picture, outcome and reason, and end it."""
        trial, at_ms = result.trial, now_ms()
        self._log_epochs(trial)
        del self._logged_at[trial.name]
        # One by one, so that a broken file costs no more than itself.
        self._put(f"missed epochs of {trial.name}", partial(self._runs.log_missed_epochs, trial, at_ms))
        if result.metrics:
            self._put(f"the last epoch of {trial.name}", partial(self._runs.log_epochs, trial, [result.metrics], at_ms))
        self._put(f"the picture of {trial.name}", partial(self._runs.log_picture, trial, at_ms))
        self._put(f"the augmenter of {trial.name}", partial(self._runs.log_augmenter, trial, at_ms))
        self._put(f"the end of {trial.name}", partial(self._runs.end_trial, result, at_ms))
        if trial.method == LEARNED and trial.phase is Phase.FINAL and result.outcome is Outcome.COMPLETE:
            self._learned.append(result)

    def finish(
        self, artifacts: Sequence[Path], summary: Mapping[str, Any] | None = None, status: RunStatus = "FINISHED"
    ) -> None:
        """End the parent run with files and what the study found; runs of trials that are still open end as KILLED.

        Of every learned arm one seed becomes a registered model. For an interrupted study `status` is KILLED; a resumed
        study opens the same runs again.
        """
        self._finished = True
        if summary is not None:
            self._put("the summary", partial(self._runs.log_summary, summary, now_ms()))
        if status == "FINISHED":
            for result in best_of_each_arm(self._learned):
                self._put(f"the model of {result.trial.name}", partial(self._models.register, result))
        for path in artifacts:
            self._put(path.name, partial(self._runs.attach, path))
        self._put("the end of the study", partial(self._runs.end, status, now_ms()))

    def close(self, timeout: float = 120.0) -> bool:
        """Wait until everything is logged, and tell whether it was; `lost` names what was not.

        A study that was not finished is marked as KILLED. A slow store is waited for while it takes something every
        `timeout` seconds; one that does not answer is given up after a few.
        """
        if not self._finished:
            self.finish((), status="KILLED")
        return self._delivery.close(timeout)

    @property
    def lost(self) -> Sequence[str]:
        """What could not be logged, and why; complete after `close`."""
        return self._delivery.lost

    @property
    def url(self) -> str | None:
        """Address in the MLflow UI where the arms of the study are side by side; none before its run exists."""
        return None if self._runs.page is None else ui_address(self._uri, self._runs.page)


def best_of_each_arm(results: Sequence[TrialResult]) -> list[TrialResult]:
    """Of each arm the seed whose augmenter did best on the outer images, which it was learned on; never by test."""
    best: dict[str, TrialResult] = {}
    for result in sorted(results, key=lambda r: (r.metrics.get("outer_loss", math.inf), r.trial.name)):
        best.setdefault(result.trial.arm, result)
    return [best[arm] for arm in sorted(best)[:MAX_MODELS]]
