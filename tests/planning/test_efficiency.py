"""On a response surface whose best decile is known, tpe with asha gets there at half the epochs of random search."""

from __future__ import annotations

import math
import random
from statistics import median

import pytest

from dabo_ray.planning.plan import Plan
from dabo_ray.seeds import derive
from dabo_ray.trials import Outcome, Phase, Trial
from tests.planning.fake_backend import study_with

EPOCHS = 27
SPACE = {
    "augmenter.lr": {"float": [0.001, 1.0], "log": True},
    "classifier.weight_decay": {"float": [0.00001, 0.01], "log": True},
    "bilevel.inner_steps": {"int": [1, 16], "log": True},
}


def final_accuracy(lr: float, decay: float, steps: int) -> float:
    """A ridge with its top at lr 0.03, decay 5e-4 and 4 steps."""
    distance = (
        (math.log10(lr / 0.03) / 1.0) ** 2 + (math.log10(decay / 5e-4) / 1.2) ** 2 + (math.log2(steps / 4) / 2.0) ** 2
    )
    return 95 - 12 * distance


def accuracy(trial: Trial, epoch: int) -> float:
    """Approaches the final accuracy, with noise of half a point."""
    top = final_accuracy(*(trial.settings[key] for key in SPACE))
    noise = random.Random(derive(trial.seed, "noise", epoch)).gauss(0, 0.5)
    return top - 30 * math.exp(-epoch / 6) + noise


def best_decile() -> float:
    draw = random.Random(0)
    points = sorted(
        final_accuracy(10 ** draw.uniform(-3, 0), 10 ** draw.uniform(-5, -2), round(2 ** draw.uniform(0, 4)))
        for _ in range(5000)
    )
    return points[-len(points) // 10]


def epochs_to(threshold: float, sampler: str, pruner: str, seed: int) -> int:
    """Epochs trained until a trial of the best decile has ended."""
    study = study_with(
        seed=seed,
        space=SPACE,
        sampler=sampler,
        trials=200,
        pruner={"name": pruner, "min_epochs": 3, "reduction_factor": 3},
        classifier={"epochs": EPOCHS},
        baselines=[],
        final={"top": 1, "seeds": 1},
    )
    plan, epochs = Plan(study, "sqlite://"), 0
    while True:
        trial = plan.next()
        assert isinstance(trial, Trial) and trial.phase is Phase.SEARCH
        outcome = Outcome.COMPLETE
        for epoch in range(1, EPOCHS + 1):
            epochs += 1
            metrics = {"epoch": float(epoch), "seconds": float(epoch), "select_accuracy": accuracy(trial, epoch)}
            if plan.report(trial.name, metrics):
                outcome = Outcome.PRUNED
                break
        plan.finish(trial.name, outcome, metrics)
        if outcome is Outcome.COMPLETE and final_accuracy(*(trial.settings[key] for key in SPACE)) >= threshold:
            return epochs


@pytest.mark.soak
def test_tpe_with_asha_needs_half_the_epochs_of_random_search():
    threshold = best_decile()
    needed = {
        name: [epochs_to(threshold, *name.split("+"), seed) for seed in range(20)]
        for name in ("random+none", "tpe+asha")
    }
    print({name: (sum(epochs) / 20, median(epochs)) for name, epochs in needed.items()})
    assert sum(needed["tpe+asha"]) <= sum(needed["random+none"]) / 2
