"""Final phase of a study: every arm on the same fresh seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.baselines import best_of_each
from dabo_ray.planning.search import SearchPhase
from dabo_ray.planning.trial_states import TrialStates
from dabo_ray.seeds import derive
from dabo_ray.trials import FROZEN, LEARNED, Outcome, Phase, Trial, TrialResult


class FinalPhase:
    """The final phase as it stands.

    Args:
        study: the checked study file.
        baselines: every trial of that phase.
        search: whose best settings are compared.
        states: of all trials of the study.
    """

    def __init__(
        self, study: StudyConfig, baselines: Sequence[Trial], search: SearchPhase, states: TrialStates
    ) -> None:
        self._study = study
        self._baselines = baselines
        self._search = search
        self._states = states
        self._known: tuple[int, list[Trial]] | None = None

    def trials(self) -> list[Trial]:
        """Every baseline that did not fail, as it was best, and the best settings, each on the same fresh seeds."""
        ended = self._states.ended
        # They are others only when another trial of the earlier phases has ended.
        num_ended = len(ended[Phase.BASELINES]) + len(ended[Phase.SEARCH])
        if self._known is None or self._known[0] != num_ended:
            baselines = best_of_each(self._baselines, ended[Phase.BASELINES])
            best = self._search.best(self._study.final.top)
            self._known = num_ended, final_trials(self._study, baselines, best, self._states.issued[Phase.FINAL])
        return self._known[1]

    def next(self) -> Trial | None:
        """The first trial that was not begun and can be."""
        issued, ended = self._states.issued[Phase.FINAL], self._states.ended[Phase.FINAL]
        return next((t for t in self.trials() if t.name not in issued and _is_ready(t, ended)), None)

    def planned(self, are_known: bool) -> int:
        """How many trials there will be.

        Args:
            are_known: whether all trials of the earlier phases have ended; before, the most there can be.
        """
        if not are_known:
            return self._study.num_final_trials
        ended = self._states.ended[Phase.FINAL]
        return sum(trial.origin not in ended or _is_ready(trial, ended) for trial in self.trials())


def final_trials(
    study: StudyConfig,
    baselines: Mapping[str, TrialResult],
    best: Sequence[TrialResult],
    issued: Mapping[str, Trial],
) -> list[Trial]:
    """The trials of the final phase, seed by seed, so that an interrupted study has whole comparisons.

    Args:
        study: the checked study file.
        baselines: by arm, the best trial of each that has a complete one.
        best: search trials whose candidates are compared, best first.
        issued: final trials so far, by name. After a study was extended its best settings may be others: a trial keeps
            its name and changes its arm, and a trial that is new does not take the name of an old one.
    """
    names = {_identity(trial): name for name, trial in issued.items()}
    planned = [trial for index in range(study.final.seeds) for trial in _with_seed(study, baselines, best, index)]
    named: dict[str, Trial] = {}
    """By the name that each would have in a study that was never extended."""
    online: dict[tuple[str | None, int], str] = {}
    """Search trial and seed -> the name of the learned trial that repeats it."""
    taken = set(issued)
    # A frozen trial refers to a learned one by its name.
    for trial in sorted(planned, key=lambda trial: trial.method == FROZEN):
        again = replace(trial, origin=online[trial.origin, trial.seed]) if trial.method == FROZEN else trial
        if (name := names.get(_identity(again), "")) == "":
            name = trial.name
            while name in taken:
                name += "-again"
        taken.add(name)
        if trial.method == LEARNED:
            online[trial.origin, trial.seed] = name
        named[trial.name] = replace(again, name=name)
    return [named[trial.name] for trial in planned]


def _identity(trial: Trial) -> tuple[str, str | None, int, int]:
    """What makes two final trials the same: a baseline's arm; of a learned one the candidate, whatever its rank."""
    kind = trial.method if trial.method in (LEARNED, FROZEN) else trial.arm
    return kind, trial.origin, trial.seed, trial.epochs


def _with_seed(
    study: StudyConfig, baselines: Mapping[str, TrialResult], best: Sequence[TrialResult], index: int
) -> Iterator[Trial]:
    def final(arm: str, origin: Trial) -> Trial:
        return Trial(
            name=f"final-{arm}-seed-{index}",
            phase=Phase.FINAL,
            arm=arm,
            method=origin.method,
            settings=origin.settings,
            seed=derive(study.seed, Phase.FINAL, index) % 2**31,
            epochs=origin.epochs,
            score=study.score,
            origin=origin.name,
        )

    complete = [name for name in study.arms if name in baselines]
    for name in complete:
        yield final(name, baselines[name].trial)
    for name in complete:
        if name in study.final.equal_cost and best:
            epochs = epochs_for_the_cost_of(best[0], baselines[name])
            yield replace(final(f"{name}-equal-cost", baselines[name].trial), epochs=epochs)
    for rank, result in enumerate(best, 1):
        yield final(f"learned-{rank}", result.trial)
        if study.final.frozen:
            yield replace(final(f"frozen-{rank}", result.trial), method=FROZEN)


def epochs_for_the_cost_of(learned: TrialResult, baseline: TrialResult) -> int:
    """Epochs that a baseline trains in the time that a learned trial took, both as measured before the final phase."""
    per_epoch = baseline.metrics["seconds"] / baseline.metrics["epoch"]
    return max(1, round(learned.metrics["seconds"] / per_epoch))


def _is_ready(trial: Trial, ended: Mapping[str, TrialResult]) -> bool:
    """Whether a final trial can begin: what a frozen one takes its augmentation from must be complete."""
    if trial.method != FROZEN:
        return True
    assert trial.origin is not None
    return trial.origin in ended and ended[trial.origin].outcome is Outcome.COMPLETE
