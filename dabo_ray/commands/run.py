"""Driver of a study, for one start: connects plan, Ray, MLflow, display and report, and leaves all of them closed."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from dabo_ray.analysis.results import summarize, write_results, write_summary
from dabo_ray.commands.open_folder import check_whole, write_provenance
from dabo_ray.commands.process import ExitCode
from dabo_ray.config.addresses import database_url, redact, tracking_uri
from dabo_ray.config.errors import ConfigError
from dabo_ray.config.key_paths import to_dict
from dabo_ray.config.schema import StudyConfig
from dabo_ray.execution import tune
from dabo_ray.execution.checkpoint import remove_checkpoints
from dabo_ray.execution.cluster import connected
from dabo_ray.execution.restarts import run_with_restarts
from dabo_ray.faults import machine_fault
from dabo_ray.planning.plan import Plan
from dabo_ray.planning.resume import flat
from dabo_ray.reporting.arms_table import print_arms
from dabo_ray.reporting.use_this import use_this
from dabo_ray.reporting.writer import write_report
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.tracking.activity import Activity
from dabo_ray.tracking.mlflow import Tracker
from dabo_ray.tracking.mlflow_runs import RunStatus
from dabo_ray.tracking.mlflow_ui import ui_command
from dabo_ray.tracking.progress import Progress
from dabo_ray.tracking.provenance import collect
from dabo_ray.trials import Outcome, Phase

MAX_LOST = 3
"""So many records that MLflow did not take are named."""


class Driver:
    """Runs a study from where it stands.

    Args:
        study: the checked study file.
        folder: the study's, locked for this process.
        question: leading comment of the study file.
        dataset_digest: fingerprint of the labelled images.
        verbose: let the messages of Ray and MLflow through.
    """

    def __init__(self, study: StudyConfig, folder: Path, *, question: str, dataset_digest: str, verbose: bool) -> None:
        self.study = study
        self.folder = folder
        self.question = question
        self.verbose = verbose
        self.console = Console(highlight=False)
        self.faults: list[str] = []
        """Of the machine, that kept this start of the study from its end."""
        self.summary: dict[str, Any] | None = None
        try:
            self.plan = Plan(study, database_url(study, StudyFolder(folder)))
        except ValueError as error:
            raise ConfigError(str(error)) from None
        check_whole(study, self.plan, StudyFolder(folder))
        self.plan.settle(folder)
        self.earlier = [result for result in self.plan.results() if result.outcome is not Outcome.RUNNING]
        self.provenance = collect(dataset=study.data.label, dataset_digest=dataset_digest, gpus=_gpus())
        write_provenance(folder, self.provenance)

    def run(self, command: Sequence[str]) -> ExitCode:
        """Runs to the end, or as far as it goes; returns the exit code.

        Args:
            command: how the user started the study, without --resume, to tell how to go on.

        Raises:
            ConfigError: a trial does not fit on the cluster.
        """
        with Activity("opening MLflow"):
            self.tracker = Tracker(
                uri=tracking_uri(self.study),
                study=self.study.study,
                study_dir=self.folder,
                description=self.question,
                params=flat(to_dict(self.study)),
                provenance=self.provenance,
                verbose=self.verbose,
            )
        start = time.monotonic()
        # What an earlier driver could not log or remove any more; the tracker adds only what is missing.
        for result in self.earlier:
            self.tracker.trial_ended(result)
            if not self.plan.is_suspended(result.trial.name):
                remove_checkpoints(StudyFolder(self.folder).trial(result.trial.name))
        code = ExitCode.DONE
        try:
            with self._noting_faults():
                if not self.plan.is_done:
                    self._train()
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
        except Exception:
            self.tracker.close()
            raise
        with self._noting_faults():
            self.plan.add_wall_seconds(time.monotonic() - start)
        with self._noting_faults(), Activity("writing the report"):
            self._report()
        if code is ExitCode.DONE and (self.faults or self.plan.left or not self._has_answer()):
            code = ExitCode.FAILED
        if not self._close_tracker(code) and code is ExitCode.DONE:
            code = ExitCode.FAILED
        self._print_outcome(code, command)
        return code

    def _train(self) -> None:
        progress = Progress(
            totals={phase: self.plan.planned(phase) for phase in Phase},
            epochs_per_trial=self.study.classifier.epochs,
            ended=self.earlier,
            console=self.console,
        )
        self.console.print(f"Study {self.study.study} in {_short(self.folder)}; starting Ray ...")
        on_workers = self.study.resources.workers != "local"
        execution = tune.StudyExecution(self.plan, self.folder, [progress, self.tracker])
        with progress:
            try:
                run_with_restarts(self.study, execution, partial(connected, verbose=self.verbose, dashboard=on_workers))
            except tune.DoesNotFitError as error:
                raise ConfigError(str(error)) from None

    @contextmanager
    def _noting_faults(self) -> Iterator[None]:
        """Within, a fault of the machine ends the block and is noted: what comes after may still be done."""
        try:
            yield
        except Exception as error:
            if not (fault := machine_fault(error)):
                raise
            self.faults.append(fault)

    def _has_answer(self) -> bool:
        """Whether any arm was scored on test."""
        complete = (r for r in self.plan.results() if r.outcome is Outcome.COMPLETE)
        return any(r.trial.phase is Phase.FINAL for r in complete)

    def _report(self) -> None:
        """Writes report and tables, also of a study that was interrupted."""
        results = self.plan.results()
        wall_seconds, note = self.plan.wall_seconds, self.plan.budget_note
        self.summary = summarize(
            self.study.study, results, wall_seconds, self.provenance, budget=note, question=self.study.question
        )
        self.summary["use_this"] = use_this(self.folder, self.study, results, self.summary["arms"])
        write_results(self.folder, results)
        write_summary(self.folder, self.summary)
        write_report(
            self.folder,
            self.study,
            question=self.question,
            results=results,
            summary=self.summary,
        )

    def _close_tracker(self, code: ExitCode) -> bool:
        """Closes the MLflow runs; whether everything is logged."""
        is_to_go_on = code is ExitCode.INTERRUPTED or self.faults or self.plan.left
        status: RunStatus = "KILLED" if is_to_go_on else "FINISHED" if code is ExitCode.DONE else "FAILED"
        files = [path for path in StudyFolder(self.folder).published() if path.exists()]
        with Activity("logging to MLflow"):
            self.tracker.finish(files, self.summary, status)
            return self.tracker.close()

    def _print_outcome(self, code: ExitCode, command: Sequence[str]) -> None:
        """What the terminal shows at the end."""
        shown = [*map(redact, command)]
        again = shlex.join([*shown, "--resume"])
        if shown != [*command]:
            again += "\n(with the user names and passwords of its addresses, which are not shown)"
        say = partial(self.console.print, soft_wrap=True, markup=False)
        self.console.print()
        if code is ExitCode.INTERRUPTED:
            say(f"Interrupted. Nothing that ended is lost. Go on with:\n  {again}")
        elif code is ExitCode.DONE or self._has_answer():
            self._print_results(command)
        elif not self.faults and not self.plan.left:
            reason = self.plan.failure_reason or "no trial of the final phase was complete; the report says why"
            given_up = "was given up: its first trials all failed" if self.plan.failure_reason else "has failed"
            say(f"The study {given_up}. Reason: {reason}")
            say(f"After mending it, remove {_short(self.folder)} and start again.")
        if wrong := list(self._what_is_left()):
            say("\n".join(wrong))
            if code is not ExitCode.INTERRUPTED:
                say(f"Nothing that ended is lost. When that is mended, go on with:\n  {again}")

    def _print_results(self, command: Sequence[str]) -> None:
        say = partial(self.console.print, soft_wrap=True, markup=False)
        if self.summary is not None:
            print_arms(self.summary, self.console)
        if note := self.plan.budget_note:
            say(f"Ended by its budget: {note}. More of it lets the study go on:")
            say(f"  {shlex.join([*command, '--extend', note.split()[0] + '=MORE'])}")
        failed = [result for result in self.plan.results() if result.outcome is Outcome.FAIL]
        if failed:
            say(f"{len(failed)} trial(s) failed; the report says why.")
        files = StudyFolder(_short(self.folder))
        say(f"\nReport:    {files.report}")
        say(f"Tables:    {files.results_csv}, {files.results_parquet.name}, {files.summary.name}")
        say(f"MLflow UI: {ui_command(tracking_uri(self.study))}")
        if self.tracker.url:
            say(f"           then open {self.tracker.url}")

    def _what_is_left(self) -> Iterator[str]:
        """A sentence for each thing that another start has to do."""
        if left := self.plan.left:
            what = "The study was stopped by" if self.plan.machine_fault else f"{len(left)} trial(s) were stopped by"
            yield f"{what} a fault of the machine, not of a setting: {left[-1].reason}."
        for fault in dict.fromkeys(self.faults):
            yield f"This start was stopped by a fault of the machine: {fault}."
        if self.tracker.lost:
            lost = self.tracker.lost
            missing = "; ".join(lost[:MAX_LOST]) + (
                f"; and {len(lost) - MAX_LOST} more" if len(lost) > MAX_LOST else ""
            )
            yield f"MLflow at {redact(tracking_uri(self.study))} did not take everything. Missing: {missing}."


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _short(folder: Path) -> Path:
    """The folder as seen from here, if it is below."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
