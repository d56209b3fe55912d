"""Which trial is next, what its report means, and when the study is done: pure Python over Optuna studies, no Ray.

An Optuna study per phase, `<study>/<phase>`, holds all state. A trial follows from its phase, its Optuna number and
the settings sampled for it, so a plan that is opened again knows every trial that an earlier driver left unfinished.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from dabo_ray.config import Choice, FloatRange, IntRange, Pruner, Study
from dabo_ray.seeds import derive
from dabo_ray.study_file import read_study, with_settings
from dabo_ray.tracking.provenance import redact
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult

GIVE_UP_AFTER = 3
"""So many failures with nothing else ended mean that the fault lies in the study, not in a trial."""

_OUTCOMES = {
    TrialState.COMPLETE: Outcome.COMPLETE,
    TrialState.PRUNED: Outcome.PRUNED,
    TrialState.FAIL: Outcome.FAIL,
}
_STATES = {outcome: state for state, outcome in _OUTCOMES.items()}


class Signal(Enum):
    """What `Plan.next` says when there is no trial."""

    WAIT = "ask again when a running trial has ended"
    DONE = "the study has ended"


def database_url(study: Study, folder: Path) -> str:
    """Where the plan of a study is kept."""
    return study.database or f"sqlite:///{folder / 'plan.db'}"


class Plan:
    """The course of one study.

    Args:
        study: the checked study file.
        url: Optuna storage; what is found there under the study's name is gone on with.

    Raises:
        ValueError: the storage cannot be opened.
    """

    def __init__(self, study: Study, url: str) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = study
        try:
            self._storage = optuna.storages.RDBStorage(url)
            self._studies = {phase: self._open(phase) for phase in Phase}
        except (SQLAlchemyError, StorageInternalError, ArgumentError) as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise ValueError(f"the study's database {redact(url)} cannot be opened: {reason}") from error
        self._running: dict[str, tuple[Trial, optuna.trial.Trial]] = {}
        self._issued: Counter[Phase] = Counter()
        self._ended: dict[Phase, list[TrialResult]] = {phase: [] for phase in Phase}
        self._unfinished: list[tuple[Trial, optuna.trial.Trial]] = []
        self._finals: list[Trial] | None = None
        for phase in Phase:
            for frozen in self._studies[phase].get_trials(deepcopy=False):
                self._recall(phase, frozen)

    def _open(self, phase: Phase) -> optuna.Study:
        is_search = phase is Phase.SEARCH
        return optuna.create_study(
            storage=self._storage,
            study_name=f"{self.study.study}/{phase}",
            direction="maximize",
            sampler=_sampler(self.study) if is_search else optuna.samplers.RandomSampler(seed=0),
            pruner=_pruner(self.study.search.pruner) if is_search else optuna.pruners.NopPruner(),
            load_if_exists=True,
        )

    def _recall(self, phase: Phase, frozen: FrozenTrial) -> None:
        trial = self._trial(phase, frozen.number, frozen.params)
        self._issued[phase] += 1
        if frozen.state.is_finished():
            self._ended[phase].append(_result(trial, frozen))
        else:
            self._unfinished.append((trial, optuna.trial.Trial(self._studies[phase], frozen._trial_id)))

    def _trial(self, phase: Phase, number: int, params: Mapping[str, Any]) -> Trial:
        """The trial with this number of a phase."""
        if phase is Phase.FINAL:
            return self._final_trials()[number]
        seed = _seed(self.study, phase, number)
        if phase is Phase.BASELINES:
            name = self.study.baselines[number]
            epochs = self.study.classifier.epochs
            return Trial(name=f"baseline-{name}", phase=phase, arm=name, method=name, seed=seed, epochs=epochs)
        settings = dict(params)
        epochs = with_settings(self.study, settings).classifier.epochs
        return Trial(
            name=f"search-{number:04d}",
            phase=phase,
            arm="learned",
            method="learned",
            settings=settings,
            seed=seed,
            epochs=epochs,
        )

    def next(self) -> Trial | Signal:
        """The next trial to run, one that an earlier driver left unfinished before all others."""
        if self.fault:
            return Signal.WAIT if self._running else Signal.DONE
        if self._unfinished:
            trial, handle = self._unfinished.pop(0)
            self._running[trial.name] = (trial, handle)
            return trial
        for phase in (Phase.BASELINES, Phase.SEARCH):
            if self._issued[phase] < self.planned(phase):
                return self._issue(phase)
        if any(trial.phase is not Phase.FINAL for trial, _ in self._running.values()):
            return Signal.WAIT
        if self._issued[Phase.FINAL] < self.planned(Phase.FINAL):
            return self._issue(Phase.FINAL)
        return Signal.WAIT if self._running else Signal.DONE

    def _issue(self, phase: Phase) -> Trial:
        space = self.study.search.space if phase is Phase.SEARCH else {}
        handle = self._studies[phase].ask({key: _distribution(entry) for key, entry in space.items()})
        trial = self._trial(phase, handle.number, handle.params)
        self._issued[phase] += 1
        self._running[trial.name] = (trial, handle)
        return trial

    def planned(self, phase: Phase) -> int:
        """Trials of a phase, as far as is known; the final phase may have fewer when searches fail."""
        if phase is Phase.BASELINES:
            return len(self.study.baselines)
        if phase is Phase.SEARCH:
            return self.study.search.trials if self.study.final.top else 0
        if any(len(self._ended[p]) < self.planned(p) for p in (Phase.BASELINES, Phase.SEARCH)):
            return (len(self.study.baselines) + self.study.final.top) * self.study.final.seeds
        return len(self._final_trials())

    def _final_trials(self) -> list[Trial]:
        """Every baseline that did not fail and the best settings, each on the same fresh seeds."""
        if self._finals is not None:
            return self._finals
        complete = [r for r in self._ended[Phase.SEARCH] if r.outcome is Outcome.COMPLETE]
        complete.sort(key=lambda r: (-r.metrics["select_accuracy"], r.trial.name))
        best = [r.trial for r in complete[: self.study.final.top]]
        by_name = {r.trial.arm: r for r in self._ended[Phase.BASELINES]}
        arms: list[tuple[str, Trial]] = [
            (b, by_name[b].trial) for b in self.study.baselines if by_name[b].outcome is Outcome.COMPLETE
        ]
        arms += [(f"learned-{rank}", trial) for rank, trial in enumerate(best, 1)]
        # Seed by seed, so that an interrupted study has whole comparisons.
        self._finals = [
            Trial(
                name=f"final-{arm}-seed-{index}",
                phase=Phase.FINAL,
                arm=arm,
                method=origin.method,
                settings=origin.settings,
                seed=_seed(self.study, Phase.FINAL, index),
                epochs=origin.epochs,
                origin=origin.name,
            )
            for index in range(self.study.final.seeds)
            for arm, origin in arms
        ]
        return self._finals

    def report(self, name: str, metrics: Mapping[str, float]) -> bool:
        """Notes the epoch of a running trial; whether the trial should stop now."""
        trial, handle = self._running[name]
        if "select_accuracy" not in metrics:
            return False
        epoch = int(metrics["epoch"])
        handle.report(metrics["select_accuracy"], epoch)
        may_stop = trial.phase is Phase.SEARCH and epoch < trial.epochs
        return may_stop and handle.should_prune()

    def finish(self, name: str, outcome: Outcome, metrics: Mapping[str, float], reason: str = "") -> TrialResult:
        """Ends a running trial for good."""
        trial, handle = self._running.pop(name)
        handle.set_user_attr("metrics", dict(metrics))
        handle.set_user_attr("reason", reason)
        value = metrics.get("test_accuracy" if trial.phase is Phase.FINAL else "select_accuracy")
        self._studies[trial.phase].tell(handle, value if outcome is Outcome.COMPLETE else None, _STATES[outcome])
        result = TrialResult(trial=trial, outcome=outcome, reason=reason, metrics=dict(metrics))
        self._ended[trial.phase].append(result)
        return result

    @property
    def fault(self) -> str:
        """Why the study is given up: the first trials all failed. Empty while it may go on."""
        ended = [result for phase in Phase for result in self._ended[phase]]
        if len(ended) < GIVE_UP_AFTER or len(ended) > 100:
            return ""
        failed = all(result.outcome is Outcome.FAIL for result in ended)
        return ended[0].reason if failed else ""

    def results(self) -> list[TrialResult]:
        """Every started trial, by phase and in the order of ending; running ones last."""
        ended = [result for phase in Phase for result in self._ended[phase]]
        open_trials = [trial for trial, _ in (*self._running.values(), *self._unfinished)]
        return ended + [TrialResult(trial=trial, outcome=Outcome.RUNNING) for trial in open_trials]

    @property
    def wall_seconds(self) -> float:
        """Time that earlier drivers spent on the study."""
        return float(self._studies[Phase.SEARCH].user_attrs.get("wall_seconds", 0.0))

    def add_wall_seconds(self, seconds: float) -> None:
        """Adds this driver's time."""
        self._studies[Phase.SEARCH].set_user_attr("wall_seconds", self.wall_seconds + seconds)


def read_results(folder: Path) -> list[TrialResult]:
    """The trials of the study in a folder, as they stand.

    Raises:
        ValueError: the study file or the database there cannot be read.
    """
    study = read_study(folder / "study.yaml")
    return Plan(study, database_url(study, folder)).results()


def _seed(study: Study, phase: Phase, number: int) -> int:
    return derive(study.seed, phase, number) % 2**31


def _result(trial: Trial, frozen: FrozenTrial) -> TrialResult:
    return TrialResult(
        trial=trial,
        outcome=_OUTCOMES[frozen.state],
        reason=frozen.user_attrs.get("reason", ""),
        metrics=frozen.user_attrs.get("metrics", {}),
    )


def _sampler(study: Study) -> optuna.samplers.BaseSampler:
    seed = derive(study.seed, "sampler") % 2**31
    if study.search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    # A third of a short search at random; Optuna's own ten otherwise.
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(2, min(10, study.search.trials // 3)))


def _pruner(config: Pruner) -> optuna.pruners.BasePruner:
    if config.name == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=config.min_epochs, reduction_factor=config.reduction_factor
        )
    if config.name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=config.min_epochs)
    return optuna.pruners.NopPruner()


def _distribution(entry: IntRange | FloatRange | Choice) -> BaseDistribution:
    if isinstance(entry, IntRange):
        return IntDistribution(*entry.bounds, log=entry.log)
    if isinstance(entry, FloatRange):
        return FloatDistribution(*entry.bounds, log=entry.log)
    return CategoricalDistribution(entry.values)
