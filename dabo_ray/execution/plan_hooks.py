"""Tune's questions (which trial is next, does it go on) and what it tells, answered and taken in by the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from dabo_ray.trials import Outcome


class Execution(Protocol):
    """Whoever hands trials to Tune, see `tune.StudyExecution`; `trial_id` is Tune's."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The config of the next trial, None to wait, or Tune's mark that there are no more."""

    def epoch_ended(self, trial_id: str, record: dict[str, float]) -> bool:
        """Takes a record; whether the trial should stop."""

    def trial_ended(self, trial_id: str, outcome: Outcome, reason: str) -> None:
        """Notes the end of a trial."""

    def process_lost(self, trial_id: str, words: str) -> None:
        """Takes in, in Ray's words, that a trial's process has ended by itself; Tune starts it again."""

    def trial_lost(self, trial_id: str) -> None:
        """Takes in that Tune has given a trial up."""


class NotPickled:
    """Tune pickles what it is given for `Tuner.restore`, which is not used: the plan has its own memory."""

    def __reduce__(self) -> tuple[Any, ...]:
        return object, ()


class Errors(NotPickled, tune.Callback):  # type: ignore[misc]
    """Brings an error in a hook out of Tune's run as it is, before Tune's next step.

    Tune itself takes some of them for a failure of the trial, tells of that, and raises the text of a traceback.
    """

    def __init__(self) -> None:
        self._first: Exception | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within, an error ends the block, and is kept if it is the first."""
        try:
            yield
        except Exception as error:
            self._first = self._first or error

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Raises the first error that was kept."""
        if self._first is not None:
            raise self._first


class PlanSearcher(NotPickled, Searcher):  # type: ignore[misc]
    """Tune's question for the next trial, answered by the plan."""

    def __init__(self, execution: Execution, errors: Errors) -> None:
        super().__init__(metric="outcome", mode="max")
        self.execution = execution
        self.errors = errors

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """See `Execution.suggest`."""
        with self.errors.kept():
            return self.execution.suggest(trial_id)
        return None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial reached its end, was stopped, failed, or its process was lost too often."""
        with self.errors.kept():
            if error or result is None:
                self.execution.trial_lost(trial_id)
                return
            self.execution.epoch_ended(trial_id, _record(result))
            self.execution.trial_ended(trial_id, Outcome(result["outcome"]), result["reason"])

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save; see `NotPickled`."""

    def restore(self, checkpoint_path: str) -> None:
        """See `save`."""


class PlanScheduler(NotPickled, FIFOScheduler):  # type: ignore[misc]
    """Tune's question whether a trial goes on, answered by the plan."""

    def __init__(self, execution: Execution, errors: Errors) -> None:
        super().__init__()
        self.execution = execution
        self.errors = errors

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A process was lost; nothing but Tune's file has the error."""
        with self.errors.kept():
            file = Path(trial.error_file)
            self.execution.process_lost(trial.trial_id, file.read_text() if file.is_file() else "")

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stops a trial that the plan has given up."""
        stop = False
        with self.errors.kept():
            stop = self.execution.epoch_ended(trial.trial_id, _record(result))
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)


def _record(result: Mapping[str, Any]) -> dict[str, float]:
    """The epoch's metrics in a Tune result, nested or flattened."""
    if isinstance(result.get("record"), dict):
        return dict(result["record"])
    return {key.removeprefix("record/"): value for key, value in result.items() if key.startswith("record/")}
