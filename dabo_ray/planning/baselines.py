"""Baselines phase of a study: every baseline, one that is tuned in every combination of its settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dabo_ray.config.schema import StudyConfig
from dabo_ray.config.schema.baselines import numbered
from dabo_ray.seeds import derive
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult


def baseline_trials(study: StudyConfig) -> list[Trial]:
    """A trial of every baseline; of one that is tuned, one for each combination, all on the same seed to be compared.

    The first trials of all baselines come first, then the second ones: where the budget ends the phase early, every
    baseline has been tried, and those that are tuned have been tried alike.
    """
    turns = []
    for place, label in enumerate(study.arms):
        for number, settings in enumerate(study.settings_to_try(label)):
            trial = Trial(
                name=f"baseline-{numbered(label, number) if settings else label}",
                phase=Phase.BASELINES,
                arm=label,
                method=study.method_of(label),
                settings=settings,
                seed=derive(study.seed, Phase.BASELINES, place) % 2**31,
                epochs=study.classifier.epochs,
                score=study.score,
            )
            turns.append((number, trial))
    return [trial for _, trial in sorted(turns, key=lambda turn: turn[0])]


def best_of_each(trials: Iterable[Trial], ended: Mapping[str, TrialResult]) -> dict[str, TrialResult]:
    """The complete trial with the best select score of each baseline, the first of equals; by their arms.

    Args:
        trials: of the baselines phase.
        ended: those that have ended, by name.
    """
    best: dict[str, TrialResult] = {}
    for trial in trials:
        result = ended.get(trial.name)
        if result is None or result.outcome is not Outcome.COMPLETE:
            continue
        if trial.arm not in best or _score(result) > _score(best[trial.arm]):
            best[trial.arm] = result
    return best


def _score(result: TrialResult) -> float:
    return result.metrics[result.trial.select_metric]
