"""Every setting of the training reaches its object."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from torch import nn

from dabo_ray.assembly import make_study_pools, make_training
from dabo_ray.bilevel.schedule import Schedule
from dabo_ray.bilevel.sgd import Sgd
from dabo_ray.bilevel.step import OuterLossLearner
from dabo_ray.bilevel.training import Training
from dabo_ray.bilevel.unrolled import unrolled_hypergradient
from dabo_ray.config.schema import StudyConfig
from dabo_ray.trials import Phase, Trial


@pytest.fixture
def training(make_study: Callable[..., StudyConfig]) -> Training:
    study = make_study(
        "classifier={batch_size: 40, lr: 0.3, momentum: 0.7, nesterov: true, weight_decay: 0.01, schedule: step, "
        "milestones: [0.4, 0.9], decay: 0.3, warmup_epochs: 1, epochs: 4, dropout: 0.25, label_smoothing: 0.2, "
        "clip_norm: 1.5, precision: bfloat16}",
        "augmenter={hidden: 12, depth: 2, noise: 9, dropout: 0.1, centre: free, schedule: constant, "
        "operations: [rotation, shear]}",
        "bilevel={inner_steps: 3, truncation: 2, differentiate: update, engine: unrolled, outer_batch_fraction: 0.3, "
        "mixed_batch_fraction: 0.6, warmup_loss: null}",
    )
    trial = Trial(name="t", phase=Phase.SEARCH, arm="learned", method="learned", seed=1, epochs=4)
    return make_training(study, trial, make_study_pools(study))


def test_of_the_classifier(training: Training):
    assert training.inputs.sgd == Sgd.of(momentum=0.7, nesterov=True, weight_decay=0.01, clip_norm=1.5)
    assert training.schedule == Schedule(
        epochs=4, lr=0.3, shape="step", milestones=[0.4, 0.9], decay=0.3, warmup_epochs=1
    )
    criterion = training.objective.criterion
    assert isinstance(criterion, partial) and criterion.keywords["label_smoothing"] == 0.2
    assert training.objective.bfloat16
    assert [part.p for part in training.objective.classifier.modules() if isinstance(part, nn.Dropout)] == [0.25]
    assert training.fit.batch_size == 40


def test_of_the_augmenter_and_how_it_learns(training: Training):
    learner = training.learner
    assert isinstance(learner, OuterLossLearner) and learner.estimator is not None
    made = learner.augmenter
    assert (made.widths, made.noise, made.dropout, made.centred) == ((12, 12), 9, 0.1, False)
    assert list(made.operations) == ["rotation", "shear"]
    assert (learner.inner_steps, learner.truncation, learner.estimator.fraction) == (3, 2, 0.6)
    assert learner.engine is unrolled_hypergradient
    assert learner.batches[0].size == 12
    first = learner.optimizer.param_groups[0]["lr"]
    for number in range(6):
        training.step(number)
    assert learner.updates == 2
    assert learner.optimizer.param_groups[0]["lr"] == first


@pytest.mark.parametrize("smoothing", [0.1, 0.0])
def test_the_augmenter_rests_until_the_training_loss_has_fallen(
    make_study: Callable[..., StudyConfig], smoothing: float
):
    study = make_study(
        f"classifier={{lr: 0.2, momentum: 0.9, batch_size: 16, width: 16, label_smoothing: {smoothing}}}",
        "bilevel={warmup_loss: 0.9, warmup_fraction: 0.3}",
    )
    trial = Trial(name="t", phase=Phase.SEARCH, arm="learned", method="learned", seed=1, epochs=8)
    training = make_training(study, trial, make_study_pools(study))
    learner = training.learner
    assert learner is not None and learner.readiness is not None
    assert (learner.readiness.share, learner.readiness.earliest) == (0.9, learner.warmup)
    *_, last = training.epochs()
    assert learner.readiness is None
    assert 0 < last["augmenter_updates"] < 8 * len(training.fit) - learner.warmup


def test_the_learning_rate_of_the_augmenter_is_annealed(make_study: Callable[..., StudyConfig]):
    study = make_study("augmenter.schedule=cosine", "bilevel={inner_steps: 1, warmup_loss: null}")
    trial = Trial(name="t", phase=Phase.SEARCH, arm="learned", method="learned", seed=1, epochs=1)
    training = make_training(study, trial, make_study_pools(study))
    assert training.learner is not None
    rates = []
    for number in range(3):
        training.step(number)
        rates.append(training.learner.optimizer.param_groups[0]["lr"])
    assert rates[0] > rates[1] > rates[2]
