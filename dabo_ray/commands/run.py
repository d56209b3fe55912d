"""Driver of a study, for one start: connects plan, Ray, MLflow, display and report, and leaves all of them closed."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from dabo_ray.analysis.results import summarize, write_results, write_summary
from dabo_ray.commands.open_folder import write_provenance
from dabo_ray.commands.process import ExitCode
from dabo_ray.config.addresses import database_url, tracking_uri
from dabo_ray.config.errors import ConfigError
from dabo_ray.config.key_paths import to_dict
from dabo_ray.config.schema import StudyConfig
from dabo_ray.execution import signals, tune
from dabo_ray.execution.cluster import connected
from dabo_ray.planning.plan import Plan
from dabo_ray.planning.resume import flat
from dabo_ray.reporting.arms_table import print_arms
from dabo_ray.reporting.writer import write_report
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.tracking.mlflow import Tracker
from dabo_ray.tracking.mlflow_ui import ui_command
from dabo_ray.tracking.progress import Progress
from dabo_ray.tracking.provenance import collect
from dabo_ray.trials import Outcome, Phase


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
        try:
            self.plan = Plan(study, database_url(study, StudyFolder(folder)))
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self.earlier = [result for result in self.plan.results() if result.outcome is not Outcome.RUNNING]
        self.provenance = collect(dataset=study.data.name, dataset_digest=dataset_digest, gpus=_gpus())
        write_provenance(folder, self.provenance)

    def run(self, command: Sequence[str]) -> ExitCode:
        """Runs to the end, or as far as it goes; returns the exit code.

        Args:
            command: how the user started the study, without --resume, to tell how to go on.

        Raises:
            ConfigError: a trial does not fit on the cluster.
        """
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
        # What an earlier driver could not log any more; the tracker adds only what is missing.
        for result in self.earlier:
            self.tracker.trial_ended(result)
        try:
            if not self.plan.is_done:
                self._train()
            code = ExitCode.DONE if self._has_answer() else ExitCode.FAILED
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
        except ConfigError:
            self.tracker.close()
            raise
        finally:
            self.plan.add_wall_seconds(time.monotonic() - start)
        self._report(code)
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
        with connected(verbose=self.verbose, dashboard=on_workers) as available:
            try:
                concurrent = tune.concurrent_trials(self.study.resources, available)
            except ValueError as error:
                raise ConfigError(str(error)) from None
            self.plan.budget.concurrent = concurrent
            # From here on Tune looks after Ctrl-C.
            signals.check()
            with progress:
                tune.run(self.study, tune.StudyExecution(self.plan, self.folder, [progress, self.tracker]), concurrent)

    def _has_answer(self) -> bool:
        """Whether any arm was scored on test."""
        complete = (r for r in self.plan.results() if r.outcome is Outcome.COMPLETE)
        return any(r.trial.phase is Phase.FINAL for r in complete)

    def _report(self, code: ExitCode) -> None:
        """Writes report and tables, also of a study that was interrupted, and closes the MLflow runs."""
        results = self.plan.results()
        wall_seconds, note = self.plan.wall_seconds, self.plan.budget_note
        summary = summarize(self.study.study, results, wall_seconds, self.provenance, budget=note)
        write_results(self.folder, results)
        write_summary(self.folder, summary)
        write_report(
            self.folder,
            self.study,
            question=self.question,
            results=results,
            summary=summary,
        )
        status = {ExitCode.DONE: "FINISHED", ExitCode.FAILED: "FAILED", ExitCode.INTERRUPTED: "KILLED"}[code]
        self.tracker.finish(StudyFolder(self.folder).published(), summary, status)  # type: ignore[arg-type]
        if not self.tracker.close():
            lost = "; ".join(self.tracker.lost)
            self.console.print(f"MLflow did not take everything; --resume logs it again. Missing: {lost}")
        self.summary = summary

    def _print_outcome(self, code: ExitCode, command: Sequence[str]) -> None:
        """What the terminal shows at the end."""
        console, folder = self.console, _short(self.folder)
        again = shlex.join([*command, "--resume"])
        console.print()
        if code is ExitCode.FAILED:
            reason = self.plan.failure_reason or "no trial of the final phase was complete; the report says why"
            given_up = "was given up: its first trials all failed" if self.plan.failure_reason else "has failed"
            console.print(f"The study {given_up}. Reason: {reason}", soft_wrap=True)
            console.print(f"After mending it, remove {folder} and start again.", soft_wrap=True)
            return
        if code is ExitCode.INTERRUPTED:
            console.print(f"Interrupted. Nothing that ended is lost. Go on with:\n  {again}", soft_wrap=True)
            return
        print_arms(self.summary, console)
        if note := self.plan.budget_note:
            console.print(f"Ended by its budget: {note}. More of it lets the study go on:", soft_wrap=True)
            console.print(f"  {shlex.join([*command, '--extend', note.split()[0] + '=MORE'])}", soft_wrap=True)
        failed = [result for result in self.plan.results() if result.outcome is Outcome.FAIL]
        if failed:
            console.print(f"{len(failed)} trial(s) failed; the report says why.")
        files = StudyFolder(folder)
        console.print(f"\nReport:    {files.report}", soft_wrap=True)
        tables = f"{files.results_csv}, {files.results_parquet.name}, {files.summary.name}"
        console.print(f"Tables:    {tables}", soft_wrap=True)
        console.print(f"MLflow UI: {ui_command(tracking_uri(self.study))}", soft_wrap=True)
        if self.tracker.url:
            console.print(f"           then open {self.tracker.url}", soft_wrap=True)


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _short(folder: Path) -> Path:
    """The folder as seen from here, if it is below."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
