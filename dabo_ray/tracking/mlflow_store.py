"""MLflow store as this package uses it: one client, quiet, within MLflow's limits. Every call may wait and raise."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dabo_ray.config.addresses import redact
from dabo_ray.tracking.mlflow_database import prepare

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MAX_METRICS, MAX_PARAMS_OR_TAGS = 1000, 100
MAX_PARAM_LENGTH, MAX_TAG_LENGTH, MAX_EXPERIMENT_TAG_LENGTH, MAX_KEY_LENGTH = 6000, 8000, 20_000, 250
# Logged last and for every epoch: a step that has it has the others too.
LAST_METRIC = "seconds"


@dataclass(kw_only=True)
class MlflowStore:
    """The store of one study, and its experiment there."""

    uri: str
    study: str
    study_dir: Path
    verbose: bool

    @cached_property
    def client(self) -> MlflowClient:
        """The client; opening a database for the first time takes seconds."""
        import mlflow

        if not self.verbose:
            for name in ("mlflow", "alembic", "sqlalchemy.engine", "urllib3.connectionpool"):
                # What goes wrong is raised too; MLflow logs it with pages of traceback, and again at every try.
                logging.getLogger(name).setLevel(logging.CRITICAL)
        if (database := _sqlite_file(self.uri)) is not None:
            prepare(database)
        return mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @cached_property
    def experiment_id(self) -> str:
        """The experiment of the study's name, made if it is missing."""
        experiment = self.client.get_experiment_by_name(self.study)
        if experiment is None:
            kind = {"mlflow.experimentKind": "custom_model_development"}
            return str(self.client.create_experiment(self.study, self._artifact_location(), kind))
        if experiment.lifecycle_stage == "deleted":
            self.client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _artifact_location(self) -> str | None:
        """Where pictures and reports go: a server decides for itself; a database's default is the working folder."""
        if self.uri.startswith(("http://", "https://")):
            return None
        database = _sqlite_file(self.uri)
        folder = self.study_dir.parent if database is None else database.parent
        return (folder / "mlartifacts" / quote(self.study)).absolute().as_uri()

    def answers(self) -> bool:
        """Whether the store can be reached now."""
        try:
            self.client.search_experiments(max_results=1)
        except Exception:
            return False
        return True

    def create_run(self, name: str, tags: Mapping[str, str], at_ms: int) -> Run:
        """A new run."""
        tags = {"mlflow.source.name": "dabo_ray", **_tags(tags)}
        return self.client.create_run(self.experiment_id, start_time=at_ms, run_name=name, tags=tags)

    def search(self, query: str) -> list[Run]:
        """All runs of the experiment that match, newest first."""
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], query, order_by=["attributes.start_time DESC"], page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def log_new_params(self, run: Run, params: Mapping[str, Any]) -> None:
        """Log what the run does not have yet: MLflow refuses to change a parameter."""
        from mlflow.entities import Param

        new = [
            Param(name[:MAX_KEY_LENGTH], _text(value, MAX_PARAM_LENGTH))
            for name, value in params.items()
            if name[:MAX_KEY_LENGTH] not in run.data.params
        ]
        for start in range(0, len(new), MAX_PARAMS_OR_TAGS):
            self.client.log_batch(run.info.run_id, params=new[start : start + MAX_PARAMS_OR_TAGS])

    def log_metrics(self, run_id: str, by_step: Mapping[int, Mapping[str, float]], at_ms: int) -> None:
        """Log the finite ones of these metrics."""
        from mlflow.entities import Metric

        entries = []
        for step, metrics in by_step.items():
            # MLflow would store infinity as 1.8e308, which ruins the curve.
            finite = {name: value for name, value in metrics.items() if name != "epoch" and math.isfinite(value)}
            entries += [Metric(name, finite[name], at_ms, step) for name in sorted(finite, key=LAST_METRIC.__eq__)]
        for start in range(0, len(entries), MAX_METRICS):
            self.client.log_batch(run_id, metrics=entries[start : start + MAX_METRICS])

    def log_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        from mlflow.entities import RunTag

        texts = [RunTag(name, value) for name, value in _tags(tags).items()]
        for start in range(0, len(texts), MAX_PARAMS_OR_TAGS):
            self.client.log_batch(run_id, tags=texts[start : start + MAX_PARAMS_OR_TAGS])

    def log_experiment_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the experiment."""
        for name, value in tags.items():
            self.client.set_experiment_tag(self.experiment_id, name, _text(value, MAX_EXPERIMENT_TAG_LENGTH))


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
