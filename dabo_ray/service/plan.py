"""Which trial is next, what its report means, and when the study is done: pure Python over Optuna studies, no Ray.

An Optuna study per phase, `<study>/<phase>`, holds all state. A trial follows from its phase, its Optuna number and
the settings sampled for it, so a plan that is opened again knows every trial that an earlier driver left unfinished.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from dabo_ray.config import FloatRange, IntRange, Pruner, Study
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
        self._running: dict[str, tuple[Trial, optuna.trial.Trial]] = {}
        self._issued: Counter[Phase] = Counter()
        self._ended: dict[Phase, list[TrialResult]] = {phase: [] for phase in Phase}
        self._unfinished: list[tuple[Trial, optuna.trial.Trial]] = []
        self._reported: Counter[str] = Counter()
        self._given_up: set[str] = set()
        self._finals: list[Trial] | None = None
        try:
            self._storage = optuna.storages.RDBStorage(url)
            self._studies = {phase: self._open(phase) for phase in Phase}
            for phase in Phase:
                for frozen in self._studies[phase].get_trials(deepcopy=False):
                    self._recall(phase, frozen)
        # A damaged database, and a URL that is none, show themselves in many ways.
        except (SQLAlchemyError, StorageInternalError, ImportError, RuntimeError, ValueError, LookupError) as error:
            shown = redact(url) if "://" in url else "(which must be given as a URL)"
            reason = redact(str(error.__cause__ or error).splitlines()[0])
            raise ValueError(f"the study's database {shown} cannot be opened: {reason}") from error

    def _open(self, phase: Phase) -> optuna.Study:
        is_search = phase is Phase.SEARCH
        return optuna.create_study(
            storage=self._storage,
            study_name=f"{self.study.study}/{phase}",
            direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=_pruner(self.study.search.pruner) if is_search else optuna.pruners.NopPruner(),
            load_if_exists=True,
        )

    def _recall(self, phase: Phase, frozen: FrozenTrial) -> None:
        trial = self._trial(phase, frozen.number, frozen.params)
        self._issued[phase] += 1
        if frozen.state.is_finished():
            self._ended[phase].append(_result(trial, frozen))
        else:
            self._reported[trial.name] = frozen.last_step or 0
            if "given_up" in frozen.user_attrs:
                self._given_up.add(trial.name)
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
        if self.is_done:
            return Signal.DONE
        if self.fault:
            return Signal.WAIT
        if self._unfinished:
            trial, handle = self._unfinished.pop(0)
            return self._start(trial.phase, handle)
        for phase in (Phase.BASELINES, Phase.SEARCH):
            if self._issued[phase] < self.planned(phase):
                return self._issue(phase)
        if any(trial.phase is not Phase.FINAL for trial, _ in self._running.values()):
            return Signal.WAIT
        if self._issued[Phase.FINAL] < self.planned(Phase.FINAL):
            return self._issue(Phase.FINAL)
        return Signal.WAIT

    def _issue(self, phase: Phase) -> Trial:
        handle = self._studies[phase].ask()
        self._issued[phase] += 1
        return self._start(phase, handle)

    def _start(self, phase: Phase, handle: optuna.trial.Trial) -> Trial:
        if phase is Phase.SEARCH:
            for key in self.study.search.space:
                self._suggest(handle, key)
        trial = self._trial(phase, handle.number, handle.params)
        self._running[trial.name] = (trial, handle)
        return trial

    def _suggest(self, handle: optuna.trial.Trial, key: str) -> None:
        """Draws a setting of a trial, unless an earlier driver drew it."""
        entry = self.study.search.space[key]
        # A stream of its own for every draw: one for all would begin again, and repeat itself, with every driver.
        self._studies[Phase.SEARCH].sampler = _sampler(
            self.study, derive(self.study.seed, "sampler", handle.number, key)
        )
        if isinstance(entry, IntRange):
            handle.suggest_int(key, *entry.bounds, log=entry.log)
        elif isinstance(entry, FloatRange):
            handle.suggest_float(key, *entry.bounds, log=entry.log)
        else:
            handle.suggest_categorical(key, entry.values)

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
        accuracy = metrics.get("select_accuracy", math.nan)
        if not math.isfinite(accuracy):
            return False
        epoch = int(metrics["epoch"])
        # A trial that goes on after a crash begins with the epoch that was its last.
        if epoch > self._reported[name]:
            self._reported[name] = epoch
            handle.report(accuracy, epoch)
        may_stop = trial.phase is Phase.SEARCH and epoch < trial.epochs
        if may_stop and name not in self._given_up and handle.should_prune():
            # Kept, since a pruner does not give the same answer twice.
            handle.set_user_attr("given_up", epoch)
            self._given_up.add(name)
        return name in self._given_up

    def finish(self, name: str, outcome: Outcome, metrics: Mapping[str, float], reason: str = "") -> TrialResult:
        """Ends a running trial for good. One that is complete but has no accuracy has failed."""
        trial, handle = self._running.pop(name)
        finite = {key: value for key, value in metrics.items() if math.isfinite(value)}
        objective = "test_accuracy" if trial.phase is Phase.FINAL else "select_accuracy"
        if outcome is Outcome.COMPLETE and objective not in finite:
            outcome, reason = Outcome.FAIL, f"it ended without a {objective}"
        handle.set_user_attr("metrics", finite)
        handle.set_user_attr("reason", reason)
        value = finite[objective] if outcome is Outcome.COMPLETE else None
        self._studies[trial.phase].tell(handle, value, _STATES[outcome])
        result = TrialResult(trial=trial, outcome=outcome, reason=reason, metrics=finite)
        self._ended[trial.phase].append(result)
        return result

    @property
    def fault(self) -> str:
        """Why the study is given up: its first trials, or all before the finals, failed. Empty while it may go on."""
        ended = [self._ended[phase] for phase in Phase]
        if sum(map(len, ended)) < min(GIVE_UP_AFTER, self.planned(Phase.BASELINES) + self.planned(Phase.SEARCH)):
            return ""
        if any(result.outcome is not Outcome.FAIL for of_phase in ended for result in of_phase):
            return ""
        return next(result.reason for of_phase in ended for result in of_phase)

    @property
    def is_done(self) -> bool:
        """Whether nothing runs and nothing is left to run: all that was planned has ended, or the study is given up."""
        if self._running:
            return False
        all_issued = all(self._issued[phase] >= self.planned(phase) for phase in Phase)
        return bool(self.fault) or (all_issued and not self._unfinished)

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


def _sampler(study: Study, seed: int) -> optuna.samplers.BaseSampler:
    if study.search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed % 2**31)
    # A third of a short search at random; Optuna's own ten otherwise.
    return optuna.samplers.TPESampler(seed=seed % 2**31, n_startup_trials=max(2, min(10, study.search.trials // 3)))


def _pruner(config: Pruner) -> optuna.pruners.BasePruner:
    if config.name == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=config.min_epochs, reduction_factor=config.reduction_factor
        )
    if config.name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=config.min_epochs)
    return optuna.pruners.NopPruner()
