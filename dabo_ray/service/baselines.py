"""The first phase: every baseline once, scored on `select`."""

from __future__ import annotations

from dabo_ray.config import Study
from dabo_ray.seeds import derive
from dabo_ray.trials import Phase, Trial


def planned_baselines(study: Study) -> int:
    """Trials of the phase."""
    return len(study.arms)


def baseline_trial(study: Study, number: int) -> Trial:
    """The trial with a number, in the order of the study file.

    Args:
        study: the checked study file.
        number: from 0, below `planned_baselines`.
    """
    name = list(study.arms)[number]
    return Trial(
        name=f"baseline-{name}",
        phase=Phase.BASELINES,
        arm=name,
        method=study.method_of(name),
        seed=derive(study.seed, Phase.BASELINES, number) % 2**31,
        epochs=study.classifier.epochs,
    )
