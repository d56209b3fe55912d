"""Store of a plan's trials in an Optuna storage: an Optuna study for each phase, an Optuna trial for each trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from dabo_ray.config.addresses import redact
from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.resume import digest
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult

_OUTCOMES = {
    TrialState.RUNNING: Outcome.RUNNING,
    TrialState.COMPLETE: Outcome.COMPLETE,
    TrialState.PRUNED: Outcome.PRUNED,
    TrialState.FAIL: Outcome.FAIL,
}
STATES = {outcome: state for state, outcome in _OUTCOMES.items()}

SUSPENDED, GIVEN_UP = "suspended", "given_up"
"""Notes of the plan about a trial: the budget ended it for now; why it was told to stop. Others are the pruner's."""

Distributions = Mapping[str, BaseDistribution]


class OtherStudyError(Exception):
    """The storage holds another study of this name."""


@dataclass
class StoredTrial:
    """A trial as it is kept."""

    id: int
    """Of the trial in the storage."""

    result: TrialResult
    """As it stands."""

    number: int | None = None
    """Of the setting that the trial tries, in the search."""

    distributions: Distributions = field(default_factory=dict)
    """What each searched setting was drawn from."""

    values: dict[int, float] = field(default_factory=dict)
    """Epoch -> select score."""

    notes: dict[str, Any] = field(default_factory=dict)
    """What the pruner remembers of the trial, and what the plan has noted."""

    def pruner_notes(self) -> dict[str, Any]:
        """What the pruner remembers of the trial."""
        return {key: value for key, value in self.notes.items() if key not in (SUSPENDED, GIVEN_UP)}


class TrialStore:
    """The trials of one study. Holds nothing in memory; every call is one transaction or a few.

    Args:
        study: the checked study file.
        url: Optuna storage; what is found there under the study's name is gone on with.
        only_read: whether it is only looked at, which may be done with a study of other defaults too.

    Raises:
        ValueError: the storage cannot be opened, or holds a study of this name with other settings.
    """

    def __init__(self, study: StudyConfig, url: str, *, only_read: bool = False) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._budget = study.budget.model_dump()
        try:
            self._storage = optuna.storages.RDBStorage(url)
            self._ids = {phase: self._open(f"{study.study}/{phase}") for phase in Phase}
            if not only_read:
                self._check_same(digest(study))
            self.trials = self._load()
        # A damaged database, and a URL that is none, show themselves in many ways.
        except OtherStudyError:
            raise ValueError(
                f"the database {redact(url)} holds a study {study.study!r} with other settings; use another name "
                "(--set study=NAME) or another database"
            ) from None
        except (SQLAlchemyError, StorageInternalError, ImportError, RuntimeError, ValueError, LookupError) as error:
            shown = redact(url) if "://" in url else "(which must be given as a URL)"
            reason = redact(str(error.__cause__ or error).splitlines()[0])
            raise ValueError(f"the study's database {shown} cannot be opened: {reason}") from error

    def _open(self, name: str) -> int:
        study = optuna.create_study(storage=self._storage, study_name=name, direction="maximize", load_if_exists=True)
        return study._study_id

    def _check_same(self, settings: str) -> None:
        kept = self.fact("settings")
        if kept is None:
            self.keep_fact("settings", settings)
        elif kept != settings:
            raise OtherStudyError

    def _load(self) -> list[StoredTrial]:
        """Each trial in the order of the first time that it was issued, as it stood the last time."""
        latest: dict[str, StoredTrial] = {}
        for phase in Phase:
            for frozen in self._storage.get_all_trials(self._ids[phase], deepcopy=False):
                stored = _stored_trial(frozen)
                latest[stored.result.trial.name] = stored
        return list(latest.values())

    def create(
        self, trial: Trial, number: int | None = None, distributions: Distributions | None = None
    ) -> StoredTrial:
        """A new running trial, in one transaction: there is none of which only a part was written."""
        distributions = distributions or {}
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params={key: trial.settings[key] for key in distributions},
            distributions=dict(distributions),
            user_attrs={"trial": trial.to_dict(), "number": number},
        )
        created = self._storage.create_new_trial(self._ids[trial.phase], template)
        return StoredTrial(created, TrialResult(trial=trial, outcome=Outcome.RUNNING), number, distributions)

    def create_again(self, stored: StoredTrial) -> StoredTrial:
        """A running trial in place of one that was suspended, with what was heard of that."""
        again = self.create(stored.result.trial, stored.number, stored.distributions)
        for epoch, value in stored.values.items():
            self.report(again, epoch, value)
        for key, value in stored.pruner_notes().items():
            self.note(again, key, value)
        return again

    def report(self, stored: StoredTrial, epoch: int, value: float) -> None:
        """Keeps the select score of an epoch."""
        stored.values[epoch] = value
        self._storage.set_trial_intermediate_value(stored.id, epoch, value)

    def note(self, stored: StoredTrial, key: str, value: Any) -> None:
        """Keeps something about a running trial."""
        stored.notes[key] = value
        self._storage.set_trial_system_attr(stored.id, key, value)

    def finish(self, stored: StoredTrial, result: TrialResult, value: float | None) -> None:
        """Ends a running trial for good.

        Args:
            stored: of the trial.
            result: how it ended.
            value: what it is judged by, for a complete trial.
        """
        self._storage.set_trial_user_attr(stored.id, "metrics", dict(result.metrics))
        self._storage.set_trial_user_attr(stored.id, "reason", result.reason)
        if result.outcome is Outcome.PRUNED and stored.values:
            # As Optuna itself does.
            value = stored.values[max(stored.values)]
        values = None if value is None else [value]
        self._storage.set_trial_state_values(stored.id, STATES[result.outcome], values)
        stored.result = result

    def leave(self, stored: StoredTrial, result: TrialResult) -> None:
        """Keeps how a running trial stands that is left to the next driver, and why; no reason once it goes on."""
        self._storage.set_trial_user_attr(stored.id, "metrics", dict(result.metrics))
        self._storage.set_trial_user_attr(stored.id, "reason", result.reason)
        stored.result = result

    def closed_phases(self) -> dict[Phase, str]:
        """Phases that the budget, as it is now, has ended early, and in which words."""
        closed = {phase: self.fact(f"closed/{phase}") for phase in Phase}
        budget = self._budget
        return {phase: fact["note"] for phase, fact in closed.items() if fact and fact["budget"] == budget}

    def close_phase(self, phase: Phase, note: str) -> None:
        """Keeps that the budget has ended a phase early."""
        self.keep_fact(f"closed/{phase}", {"note": note, "budget": self._budget})

    def fact(self, key: str) -> Any:
        """Something kept about the study as a whole, or None."""
        return self._storage.get_study_user_attrs(self._ids[Phase.SEARCH]).get(key)

    def keep_fact(self, key: str, value: Any) -> None:
        """Keeps something about the study as a whole."""
        self._storage.set_study_user_attr(self._ids[Phase.SEARCH], key, value)


def _stored_trial(frozen: FrozenTrial) -> StoredTrial:
    attributes = frozen.user_attrs
    result = TrialResult(
        trial=Trial.from_dict(attributes["trial"]),
        outcome=_OUTCOMES[frozen.state],
        reason=attributes.get("reason", ""),
        metrics=attributes.get("metrics", {}),
    )
    return StoredTrial(
        id=frozen._trial_id,
        result=result,
        number=attributes["number"],
        distributions=frozen.distributions,
        values=dict(frozen.intermediate_values),
        notes=dict(frozen.system_attrs),
    )
