"""MLflow runs of one study: an experiment, a parent run, a child run per trial."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dabo_ray.config.addresses import redact
from dabo_ray.storage.atomic import write_atomically
from dabo_ray.storage.layout import StudyFolder, TrialFolder
from dabo_ray.tracking.description import headline_metrics, links, markdown, plain
from dabo_ray.tracking.mlflow_datasets import datasets_of
from dabo_ray.tracking.mlflow_store import LAST_METRIC, MlflowStore, now_ms
from dabo_ray.tracking.mlflow_ui import run_page, view_page
from dabo_ray.tracking.mlflow_views import arms_view, judged_by, search_view, searched
from dabo_ray.tracking.provenance import UNKNOWN
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult

if TYPE_CHECKING:
    from mlflow.entities import Run

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]
RUN_STATUS: Mapping[Outcome, RunStatus] = {
    Outcome.COMPLETE: "FINISHED",
    Outcome.PRUNED: "KILLED",
    Outcome.FAIL: "FAILED",
    Outcome.RUNNING: "KILLED",
}
# Outcome of a trial that its study did not wait for, or left; a resumed study goes on with it.
INTERRUPTED = "INTERRUPTED"


@dataclass(slots=True)
class _TrialRun:
    """What is known to be logged of a trial."""

    run_id: str
    status: str
    outcome: str
    has_picture: bool = False
    has_augmenter: bool = False
    steps: set[int] = field(default_factory=set)


@dataclass(kw_only=True)
class StudyRuns:
    """The runs of one study in its store. Every call waits for the store, may raise, and may be repeated if it did."""

    store: MlflowStore
    description: str
    params: Mapping[str, Any]
    provenance: Mapping[str, str]
    started_ms: int
    page: str | None = None
    _trials: dict[str, _TrialRun] = field(default_factory=dict)

    def open(self) -> None:
        """Create the parent run or find it again, and bring its parameters and tags up to date."""
        self._show("The study runs.", ())
        self.page = view_page(self.store.experiment_id, self._view_key("arms"))

    def start_trial(self, trial: Trial, at_ms: int) -> None:
        """Create the trial's run, or open it again."""
        run = self._run_of(trial, at_ms)
        if run.status != "RUNNING":
            self.store.client.update_run(run.run_id, status="RUNNING")
            run.status = "RUNNING"
        if run.outcome != Outcome.RUNNING:
            self.store.log_tags(run.run_id, {"dabo_ray.outcome": Outcome.RUNNING, "dabo_ray.reason": ""})
            run.outcome = Outcome.RUNNING

    def log_epochs(self, trial: Trial, records: Iterable[Mapping[str, float]], at_ms: int) -> None:
        """Log those epochs that are not there yet."""
        run = self._run_of(trial, at_ms)
        new = {int(record["epoch"]): record for record in records if int(record["epoch"]) not in run.steps}
        self.store.log_metrics(run.run_id, new, at_ms)
        run.steps |= new.keys()

    def log_missed_epochs(self, trial: Trial, at_ms: int) -> None:
        """Log what the trial's worker has written down and no driver has logged."""
        file = self._files_of(trial).records
        if file.exists():
            self.log_epochs(trial, json.loads(file.read_text(encoding="utf-8")), at_ms)

    def log_picture(self, trial: Trial, at_ms: int) -> None:
        """Show the trial's samples on its page, if there are any."""
        from PIL import Image

        file, run = self._files_of(trial).samples, self._run_of(trial, at_ms)
        if file.exists() and not run.has_picture:
            with Image.open(file) as picture:
                step = max(run.steps, default=0)
                image = picture.convert("RGB")
                self.store.client.log_image(run.run_id, image, key="samples", step=step, synchronous=True)
            run.has_picture = True

    def log_augmenter(self, trial: Trial, at_ms: int) -> None:
        """Hang what a trial of the final phase has learned on its run: a file that `augment.export.load` reads."""
        file, run = self._files_of(trial).augmenter, self._run_of(trial, at_ms)
        if trial.phase is Phase.FINAL and file.exists() and not run.has_augmenter:
            self.store.client.log_artifact(run.run_id, str(file))
            self.store.log_tags(run.run_id, {"dabo_ray.augmenter": file.name})
            run.has_augmenter = True

    def end_trial(self, result: TrialResult, at_ms: int) -> None:
        """End the trial's run with its outcome, unless it has ended so before; a running trial was interrupted."""
        run = self._run_of(result.trial, at_ms)
        outcome = INTERRUPTED if result.outcome is Outcome.RUNNING else str(result.outcome)
        if run.outcome != outcome:
            if result.reason or run.outcome == INTERRUPTED:
                # The note is what the page of a run begins with.
                note = f"**{outcome}**: {result.reason}" if result.reason else ""
                self.store.log_tags(run.run_id, {"dabo_ray.reason": result.reason, "mlflow.note.content": note})
            self.store.client.set_terminated(run.run_id, RUN_STATUS[result.outcome], at_ms)
            self.store.log_tags(run.run_id, {"dabo_ray.outcome": outcome})
        del self._trials[result.trial.name]

    def log_summary(self, summary: Mapping[str, Any], at_ms: int) -> None:
        """Log what the study found."""
        pages = self._show(summary["answer"], [arm["name"] for arm in summary["arms"]])
        tags = {
            "mlflow.note.content": markdown(self.description, summary, pages, self.store.study_dir),
            "dabo_ray.answer": summary["answer"],
            "dabo_ray.verdict": summary["verdict"] or "",
            "dabo_ray.recommended": summary["use_this"]["arm"] if summary["use_this"] else "",
        }
        self.store.log_metrics(self._parent_id, {0: headline_metrics(summary)}, at_ms)
        self.store.log_tags(self._parent_id, tags)

    def _show(self, answer: str, arms: Sequence[str]) -> dict[str, str]:
        """Put views of the study, and above them the answer with links, on the experiment's page; returns the views.

        Only the first line of what stands there is shown unless it is asked for.
        """
        began = datetime.fromtimestamp(self._parent.info.start_time / 1000)
        score = judged_by(self.params)
        of_study = f"of {began:%Y-%m-%d %H:%M}"
        views = {"arms": arms_view(f"Arms {of_study}", self._parent_id, arms, score)}
        if settings := searched(self.params):
            views["search"] = search_view(f"Search {of_study}", self._parent_id, settings, score)
        saved = dict(view.tag(self._view_key(of), now_ms()) for of, view in views.items())
        experiment, words = self.store.experiment_id, {"arms": "Arms side by side", "search": "Trials of the search"}
        pages = {words[of]: view_page(experiment, self._view_key(of)) for of in views}
        everywhere = {**pages, "Results and report": run_page(experiment, self._parent_id)}
        note = f"{links(everywhere)} \N{MIDDLE DOT} {plain(answer)}"
        self.store.log_experiment_tags({**saved, "mlflow.note.content": note})
        return pages

    def _view_key(self, of: str) -> str:
        return f"{of}-{self._study_id()[:8]}"

    def log_system(self, metrics: Mapping[str, float], at_ms: int) -> None:
        """Log how busy the driver's machine is; the step is the second since the driver began."""
        self.store.log_metrics(self._parent_id, {(at_ms - self.started_ms) // 1000: metrics}, at_ms)

    def attach(self, path: Path) -> None:
        """Hang a file on the parent run; a study file without the passwords in its addresses."""
        if path.suffix == ".yaml":
            self.store.client.log_text(self._parent_id, redact(path.read_text(encoding="utf-8")), path.name)
        else:
            self.store.client.log_artifact(self._parent_id, str(path))

    def end(self, status: RunStatus, at_ms: int) -> None:
        """End the parent run, and those of trials that did not end."""
        of_study = f"tags.`mlflow.parentRunId` = '{self._parent_id}'"
        self._remove_doubles(of_study)
        for run in self.store.search(f"{of_study} and attributes.status = 'RUNNING'"):
            reason = "the study was stopped before this trial ended"
            self.store.log_tags(run.info.run_id, {"dabo_ray.outcome": INTERRUPTED, "dabo_ray.reason": reason})
            self.store.client.set_terminated(run.info.run_id, "KILLED", at_ms)
        self._trials.clear()
        self.store.client.set_terminated(self._parent_id, status, at_ms)

    def _remove_doubles(self, of_study: str) -> None:
        """Deletes runs that a server made once more, because its answer to the first request was lost or late."""
        parents = [run for run in self.store.search(self._as_parent()) if run.info.run_id != self._parent_id]
        by_trial: dict[str, list[Run]] = {}
        for run in self.store.search(of_study):
            by_trial.setdefault(run.data.tags["dabo_ray.trial"], []).append(run)
        children = [run for runs in by_trial.values() for run in runs if run is not _fullest(runs)]
        for run in [*parents, *children]:
            self.store.client.delete_run(run.info.run_id)

    def _as_parent(self) -> str:
        return f"tags.`dabo_ray.study_id` = '{self._study_id()}' and tags.`dabo_ray.role` = 'parent'"

    @cached_property
    def _parent(self) -> Run:
        study_id = self._study_id()
        tags = {
            **{f"provenance.{name}": value for name, value in self.provenance.items()},
            "mlflow.note.content": self.description,
            "dabo_ray.study": self.store.study,
            "dabo_ray.study_id": study_id,
            "dabo_ray.role": "parent",
        }
        if self.provenance.get("commit", UNKNOWN) != UNKNOWN:
            tags["mlflow.source.git.commit"] = self.provenance["commit"]
        found = self.store.search(self._as_parent())
        run = _fullest(found) if found else self.store.create_run(self.store.study, tags, self.started_ms)
        if found:
            self.store.client.update_run(run.info.run_id, status="RUNNING")
            self.store.log_tags(run.info.run_id, tags)
        self.store.log_new_params(run, self.params)
        if not (found and run.inputs.dataset_inputs):
            self.store.client.log_inputs(run.info.run_id, datasets_of(self.params, self.provenance))
        return run

    @property
    def _parent_id(self) -> str:
        return str(self._parent.info.run_id)

    def _study_id(self) -> str:
        """What tells this study from others of its name; kept in its folder, so that a resumed study has it again."""
        file = StudyFolder(self.store.study_dir).mlflow_study_id
        if not file.exists():
            self.store.study_dir.mkdir(parents=True, exist_ok=True)
            write_atomically(file, uuid.uuid4().hex)
        return file.read_text(encoding="utf-8").strip()

    def _run_of(self, trial: Trial, at_ms: int) -> _TrialRun:
        """The trial's run; looked for in the store, then created, when it is met for the first time."""
        if trial.name in self._trials:
            return self._trials[trial.name]
        parent = self._parent_id
        found = self.store.search(f"tags.`dabo_ray.trial` = '{trial.name}' and tags.`mlflow.parentRunId` = '{parent}'")
        tags = {
            "mlflow.parentRunId": parent,
            "dabo_ray.trial": trial.name,
            "dabo_ray.phase": trial.phase,
            "dabo_ray.arm": trial.arm,
            "dabo_ray.method": trial.method,
            "dabo_ray.outcome": Outcome.RUNNING,
            **({"dabo_ray.origin": trial.origin} if trial.origin else {}),
        }
        run = _fullest(found) if found else self.store.create_run(trial.name, tags, at_ms)
        self.store.log_new_params(run, {"seed": trial.seed, "epochs": trial.epochs, **trial.settings})
        known = _TrialRun(run.info.run_id, run.info.status, run.data.tags["dabo_ray.outcome"])
        if found:
            known.has_picture = "mlflow.loggedImages" in run.data.tags
            known.has_augmenter = "dabo_ray.augmenter" in run.data.tags
            known.steps = {metric.step for metric in self.store.client.get_metric_history(known.run_id, LAST_METRIC)}
        self._trials[trial.name] = known
        return known

    def _files_of(self, trial: Trial) -> TrialFolder:
        return StudyFolder(self.store.study_dir).trial(trial.name)


def _fullest(runs: Sequence[Run]) -> Run:
    """Of runs for the same, the one that was logged to."""
    return max(runs, key=lambda run: (len(run.data.params) + len(run.data.metrics), -run.info.start_time))
