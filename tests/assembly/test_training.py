"""A trial is trained on its images, and its augmenter learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from dabo_ray.assembly import make_study_pools, make_training
from dabo_ray.assembly.augmentation import LEARNING, make_augmenter
from dabo_ray.augment import export
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.fixed import Compose, Identity
from dabo_ray.augment.geometric import Crop, Flip
from dabo_ray.augment.registry import AUGMENTERS
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.splits import Pools
from dabo_ray.trials import Phase, Trial

StudyMaker = Callable[..., StudyConfig]


def trial(method: str, phase: Phase, seed: int = 1) -> Trial:
    return Trial(name="t", phase=phase, arm=method, method=method, seed=seed, epochs=1)


@pytest.mark.parametrize("method", ["learned", "none", "random_augmenter", "stn", "adversarial"])
@pytest.mark.parametrize("phase", list(Phase))
def test_a_training_has_the_images_of_its_trial(method: str, phase: Phase, study: StudyConfig, pools: Pools):
    before = torch.get_rng_state()
    training = make_training(study, trial(method, phase), pools)
    assert torch.equal(torch.get_rng_state(), before)
    roles = pools.roles(
        learned=method == "learned", final=phase is Phase.FINAL, outer_fraction=study.data.outer_fraction, seed=1
    )
    assert torch.equal(training.fit.images.images, roles.fit.images)
    assert torch.equal(training.score.images, roles.score.images)
    assert training.part == ("test" if phase is Phase.FINAL else "select")
    assert (training.learner is None) == (method not in LEARNING)


@pytest.mark.parametrize("method", ["learned", "random_augmenter", "stn", "adversarial", "frozen"])
def test_every_arm_with_an_augmenter_has_the_base(method: str, make_study: StudyMaker):
    study = make_study("augmenter.base=[flip, {name: crop, padding: 2}]", "data.num_labels=100")
    pools = make_study_pools(study)
    learned = make_augmenter(study.augmenter, 10) if method == "frozen" else None
    training = make_training(study, trial(method, Phase.FINAL), pools, learned=learned)
    base = training.inputs.base
    assert isinstance(base, Compose)
    flip, crop = base.steps
    assert isinstance(flip, Flip) and isinstance(crop, Crop)
    assert crop.padding == 2
    assert next(training.epochs())["train_loss"] > 0


def test_without_steps_there_is_no_base(study: StudyConfig, pools: Pools):
    assert isinstance(make_training(study, trial("learned", Phase.SEARCH), pools).inputs.base, Identity)


@pytest.mark.parametrize("conditioning", ["class", "image"])
@pytest.mark.parametrize("method", ["learned", "random_augmenter"])
def test_a_conditioned_augmenter_is_given_what_it_depends_on(
    conditioning: str, method: str, make_study: StudyMaker, pools: Pools
):
    study = make_study(
        f"augmenter={{conditioning: {conditioning}, hidden: [4, 5], dropout: 0.1, operations: [rotation]}}",
        "classifier={width: 8, epochs: 1}",
        "bilevel={inner_steps: 4, truncation: 2}",
        "baselines=[random_augmenter]",
    )
    training = make_training(study, trial(method, Phase.SEARCH), pools)
    record = next(training.epochs())
    assert record["train_loss"] > 0
    if method == "learned":
        assert record["rotation_spread_deg"] > 0
        assert record["translation_spread_percent"] == 0
        assert isinstance(training.augmentation, Augmenter)
        assert training.augmentation.num_classes == (10 if conditioning == "class" else 0)


@pytest.mark.parametrize("conditioning", ["none", "class", "image"])
def test_what_another_study_learned_trains_as_the_frozen_arm(
    conditioning: str, make_study: StudyMaker, pools: Pools, tmp_path: Path
):
    path = tmp_path / "augmenter.safetensors"
    study = make_study(
        f"augmenter={{conditioning: {conditioning}, hidden: 4, operations: [rotation]}}",
        f"baselines=[{{name: augmenter_file, path: {path}, label: transferred}}]",
        "bilevel.inner_steps=1",
    )
    learning = make_training(study, trial("learned", Phase.FINAL), pools)
    next(learning.epochs())
    assert isinstance(learning.augmentation, Augmenter)
    export.save(learning.augmentation, path)
    frozen = make_training(study, trial("frozen", Phase.FINAL), pools, learned=learning.augmentation)
    transferred = make_training(study, trial("transferred", Phase.FINAL), pools)
    records = [next(training.epochs()) for training in (frozen, transferred)]
    assert records[0] | {"seconds": 0} == records[1] | {"seconds": 0}
    assert torch.equal(parameters_to_vector(frozen.weights), parameters_to_vector(transferred.weights))
    plain = make_training(study, trial("random_augmenter", Phase.FINAL), pools)
    assert next(plain.epochs())["train_loss"] != records[1]["train_loss"]


@pytest.mark.parametrize("name", AUGMENTERS)
def test_every_augmenter_learns(name: str, make_study: StudyMaker):
    study = make_study(
        f"augmenter.name={name}",
        "data.num_labels=200",
        "classifier={width: 8, batch_size: 32}",
        "bilevel={truncation: 2, warmup_loss: null}",
    )
    training = make_training(study, trial("learned", Phase.SEARCH), make_study_pools(study))
    assert isinstance(training.augmentation, Augmenter)
    before = parameters_to_vector(training.augmentation.parameters()).detach().clone()
    record = next(training.epochs())
    assert record["hypergradient_norm"] > 0
    assert any("_spread_" in key for key in record)
    assert any(key.startswith("probability_") for key in record) == (name == "policy")
    assert not torch.equal(parameters_to_vector(training.augmentation.parameters()), before)
