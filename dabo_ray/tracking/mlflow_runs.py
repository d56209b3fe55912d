"""The MLflow runs of one study: an experiment, a parent run, a child run per trial. Alone in importing MLflow."""

from __future__ import annotations

import json
import logging
import math
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from dabo_ray.tracking.provenance import UNKNOWN, redact
from dabo_ray.trials import Outcome, Trial, TrialResult

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]
RUN_STATUS: Mapping[Outcome, RunStatus] = {
    Outcome.COMPLETE: "FINISHED",
    Outcome.PRUNED: "KILLED",
    Outcome.FAIL: "FAILED",
}
# Outcome of a trial that its study did not wait for; a resumed study goes on with it.
INTERRUPTED = "INTERRUPTED"
MAX_METRICS, MAX_PARAMS_OR_TAGS = 1000, 100
MAX_PARAM_LENGTH, MAX_TAG_LENGTH, MAX_KEY_LENGTH = 6000, 8000, 250
# Logged last and for every epoch: a step that has it has the others too.
LAST_METRIC = "seconds"


@dataclass(slots=True)
class _TrialRun:
    """What is known to be logged of a trial."""

    run_id: str
    status: str
    outcome: str
    has_picture: bool = False
    steps: set[int] = field(default_factory=set)


@dataclass(kw_only=True)
class StudyRuns:
    """The runs of one study in its store. Every call waits for the store, may raise, and may be repeated if it did."""

    uri: str
    study: str
    study_dir: Path
    description: str
    params: Mapping[str, Any]
    provenance: Mapping[str, str]
    verbose: bool
    started_ms: int
    page: str | None = None
    _trials: dict[str, _TrialRun] = field(default_factory=dict)

    def answer(self) -> bool:
        """Whether the store can be reached now."""
        try:
            self._client.search_experiments(max_results=1)
        except Exception:
            return False
        return True

    def open(self) -> None:
        """Create the parent run or find it again, and bring its parameters and tags up to date."""
        # MLflow's pages open in the view for language models unless told otherwise.
        self.page = f"#/experiments/{self._experiment_id}/runs/{self._parent_id}?workflowType=machine_learning"

    def start_trial(self, trial: Trial, at_ms: int) -> None:
        """Create the trial's run, or open it again."""
        run = self._run_of(trial, at_ms)
        if run.status != "RUNNING":
            self._client.update_run(run.run_id, status="RUNNING")
            run.status = "RUNNING"
        if run.outcome != Outcome.RUNNING:
            self._log_tags(run.run_id, {"dabo_ray.outcome": Outcome.RUNNING, "dabo_ray.reason": ""})
            run.outcome = Outcome.RUNNING

    def log_epochs(self, trial: Trial, records: Iterable[Mapping[str, float]], at_ms: int) -> None:
        """Log those epochs that are not there yet."""
        run = self._run_of(trial, at_ms)
        new = {int(record["epoch"]): record for record in records if int(record["epoch"]) not in run.steps}
        self._log_metrics(run.run_id, new, at_ms)
        run.steps |= new.keys()

    def log_missed_epochs(self, trial: Trial, at_ms: int) -> None:
        """Log what the trial's worker has written down and no driver has logged."""
        file = self._folder_of(trial) / "records.json"
        if file.exists():
            self.log_epochs(trial, json.loads(file.read_text(encoding="utf-8")), at_ms)

    def log_picture(self, trial: Trial, at_ms: int) -> None:
        """Show the trial's samples on its page, if there are any."""
        from PIL import Image

        file, run = self._folder_of(trial) / "samples.png", self._run_of(trial, at_ms)
        if file.exists() and not run.has_picture:
            with Image.open(file) as picture:
                step = max(run.steps, default=0)
                self._client.log_image(run.run_id, picture.convert("RGB"), key="samples", step=step, synchronous=True)
            run.has_picture = True

    def end_trial(self, result: TrialResult, at_ms: int) -> None:
        """End the trial's run with its outcome, unless it has ended so before."""
        run = self._run_of(result.trial, at_ms)
        if run.outcome != result.outcome:
            if result.reason or run.outcome == INTERRUPTED:
                self._log_tags(run.run_id, {"dabo_ray.reason": result.reason})
            self._client.set_terminated(run.run_id, RUN_STATUS[result.outcome], at_ms)
            self._log_tags(run.run_id, {"dabo_ray.outcome": result.outcome})
        del self._trials[result.trial.name]

    def log_summary(self, metrics: Mapping[str, float], at_ms: int) -> None:
        """Log metrics of the whole study."""
        self._log_metrics(self._parent_id, {0: metrics}, at_ms)

    def attach(self, path: Path) -> None:
        """Hang a file on the parent run."""
        self._client.log_artifact(self._parent_id, str(path))

    def end(self, status: RunStatus, at_ms: int) -> None:
        """End the parent run, and those of trials that did not end."""
        for run in self._search(f"tags.`mlflow.parentRunId` = '{self._parent_id}' and attributes.status = 'RUNNING'"):
            reason = "the study was stopped before this trial ended"
            self._log_tags(run.info.run_id, {"dabo_ray.outcome": INTERRUPTED, "dabo_ray.reason": reason})
            self._client.set_terminated(run.info.run_id, "KILLED", at_ms)
        self._trials.clear()
        self._client.set_terminated(self._parent_id, status, at_ms)

    @cached_property
    def _client(self) -> MlflowClient:
        import mlflow

        if not self.verbose:
            for name in ("mlflow", "alembic", "sqlalchemy.engine", "urllib3.connectionpool"):
                logging.getLogger(name).setLevel(logging.ERROR)
        if (database := _sqlite_file(self.uri)) is not None:
            database.parent.mkdir(parents=True, exist_ok=True)
        return mlflow.MlflowClient(tracking_uri=self.uri)

    @cached_property
    def _experiment_id(self) -> str:
        experiment = self._client.get_experiment_by_name(self.study)
        if experiment is None:
            kind = {"mlflow.experimentKind": "custom_model_development"}
            return str(self._client.create_experiment(self.study, self._artifact_location(), kind))
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _artifact_location(self) -> str | None:
        """Where pictures and reports go: a server decides for itself; a database's default is the working folder."""
        if self.uri.startswith(("http://", "https://")):
            return None
        database = _sqlite_file(self.uri)
        folder = self.study_dir.parent if database is None else database.parent
        return (folder / "mlartifacts" / quote(self.study)).absolute().as_uri()

    @cached_property
    def _parent_id(self) -> str:
        study_id = self._study_id()
        tags = {
            **{f"provenance.{name}": value for name, value in self.provenance.items()},
            "mlflow.note.content": self.description,
            "dabo_ray.study": self.study,
            "dabo_ray.study_id": study_id,
            "dabo_ray.role": "parent",
        }
        if self.provenance.get("commit", UNKNOWN) != UNKNOWN:
            tags["mlflow.source.git.commit"] = self.provenance["commit"]
        found = self._search(f"tags.`dabo_ray.study_id` = '{study_id}' and tags.`dabo_ray.role` = 'parent'")
        run = found[0] if found else self._create_run(self.study, tags, self.started_ms)
        if found:
            self._client.update_run(run.info.run_id, status="RUNNING")
            self._log_tags(run.info.run_id, tags)
        self._log_new_params(run, self.params)
        return str(run.info.run_id)

    def _study_id(self) -> str:
        """What tells this study from others of its name; kept in its folder, so that a resumed study has it again."""
        file = self.study_dir / "mlflow_study_id"
        if not file.exists():
            self.study_dir.mkdir(parents=True, exist_ok=True)
            written = file.with_suffix(".new")
            written.write_text(uuid.uuid4().hex, encoding="utf-8")
            written.replace(file)
        return file.read_text(encoding="utf-8").strip()

    def _run_of(self, trial: Trial, at_ms: int) -> _TrialRun:
        """The trial's run; looked for in the store, then created, when it is met for the first time."""
        if trial.name in self._trials:
            return self._trials[trial.name]
        parent = self._parent_id
        found = self._search(f"tags.`dabo_ray.trial` = '{trial.name}' and tags.`mlflow.parentRunId` = '{parent}'")
        tags = {
            "mlflow.parentRunId": parent,
            "dabo_ray.study": self.study,
            "dabo_ray.trial": trial.name,
            "dabo_ray.phase": trial.phase,
            "dabo_ray.arm": trial.arm,
            "dabo_ray.method": trial.method,
            "dabo_ray.outcome": Outcome.RUNNING,
            **({"dabo_ray.origin": trial.origin} if trial.origin else {}),
        }
        run = found[0] if found else self._create_run(trial.name, tags, at_ms)
        fixed = {name: getattr(trial, name) for name in ("seed", "method", "arm", "phase", "epochs")}
        self._log_new_params(run, {**fixed, **trial.settings})
        known = _TrialRun(run.info.run_id, run.info.status, run.data.tags["dabo_ray.outcome"])
        if found:
            known.has_picture = "mlflow.loggedImages" in run.data.tags
            known.steps = {metric.step for metric in self._client.get_metric_history(known.run_id, LAST_METRIC)}
        self._trials[trial.name] = known
        return known

    def _create_run(self, name: str, tags: Mapping[str, str], at_ms: int) -> Run:
        return self._client.create_run(
            self._experiment_id, start_time=at_ms, run_name=name, tags={"mlflow.source.name": "dabo_ray", **_tags(tags)}
        )

    def _search(self, query: str) -> list[Run]:
        """All runs of the experiment that match, newest first."""
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id], query, order_by=["attributes.start_time DESC"], page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def _log_new_params(self, run: Run, params: Mapping[str, Any]) -> None:
        """Log what the run does not have yet: MLflow refuses to change a parameter."""
        from mlflow.entities import Param

        new = [
            Param(name[:MAX_KEY_LENGTH], _text(value, MAX_PARAM_LENGTH))
            for name, value in params.items()
            if name[:MAX_KEY_LENGTH] not in run.data.params
        ]
        for start in range(0, len(new), MAX_PARAMS_OR_TAGS):
            self._client.log_batch(run.info.run_id, params=new[start : start + MAX_PARAMS_OR_TAGS])

    def _log_metrics(self, run_id: str, by_step: Mapping[int, Mapping[str, float]], at_ms: int) -> None:
        from mlflow.entities import Metric

        entries = []
        for step, metrics in by_step.items():
            # MLflow would store infinity as 1.8e308, which ruins the curve.
            finite = {name: value for name, value in metrics.items() if name != "epoch" and math.isfinite(value)}
            entries += [Metric(name, finite[name], at_ms, step) for name in sorted(finite, key=LAST_METRIC.__eq__)]
        for start in range(0, len(entries), MAX_METRICS):
            self._client.log_batch(run_id, metrics=entries[start : start + MAX_METRICS])

    def _log_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        texts = [RunTag(name, value) for name, value in _tags(tags).items()]
        for start in range(0, len(texts), MAX_PARAMS_OR_TAGS):
            self._client.log_batch(run_id, tags=texts[start : start + MAX_PARAMS_OR_TAGS])

    def _folder_of(self, trial: Trial) -> Path:
        return self.study_dir / "trials" / trial.name


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {name[:MAX_KEY_LENGTH]: _text(value, MAX_TAG_LENGTH) for name, value in tags.items()}


def _text(value: object, length: int) -> str:
    text = redact(str(value))
    return text if len(text) <= length else text[: length - 3] + "..."


def _sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite URI; none for every other store."""
    path = uri.partition("?")[0].removeprefix("sqlite:///")
    return Path(path) if uri.startswith("sqlite:///") else None


def now_ms() -> int:
    """Milliseconds since 1970, as MLflow counts time."""
    return time.time_ns() // 1_000_000
