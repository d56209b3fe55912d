"""Every name that a study file may hold has its object, and a seed decides the first weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from dabo_ray import build
from dabo_ray.augment.augmenters import AUGMENTERS
from dabo_ray.augment.fixed import Compose, FixedAugmentation
from dabo_ray.augment.jitter import ColorJitter
from dabo_ray.augment.learned import Augmenter, Frozen
from dabo_ray.augment.policy_file import PolicyError
from dabo_ray.config import Augmenter as AugmenterConfig
from dabo_ray.config import Baseline, Bilevel, Classifier, Data, Study
from dabo_ray.config.baselines import ARMS, arm_of
from dabo_ray.data.images import DataError
from dabo_ray.data.sources import FORMATS
from dabo_ray.data.splits import Pools
from dabo_ray.models.imagenet import WeightsError
from dabo_ray.trials import LEARNED, Phase, Trial

CPU = torch.device("cpu")
StudyMaker = Callable[..., Study]


def names(annotation: Any) -> set[str]:
    return set(get_args(annotation))


@pytest.mark.parametrize(
    ("allowed", "known"),
    [
        (Classifier.model_fields["name"].annotation, build.CLASSIFIERS),
        (AugmenterConfig.model_fields["name"].annotation, AUGMENTERS),
        (AugmenterConfig.model_fields["optimizer"].annotation, build.OPTIMIZERS),
        (Bilevel.model_fields["engine"].annotation, build.ENGINES),
        (Data.model_fields["name"].annotation, {**FORMATS, "digits": None}),
    ],
    ids=["classifier", "augmenter", "optimizer", "engine", "data"],
)
def test_names_of_a_study_file_are_those_that_are_known(allowed: Any, known: Mapping[str, Any]):
    assert names(allowed) == known.keys()


def test_every_baseline_has_its_object_and_its_settings():
    assert ARMS.keys() == {*build.BASELINES, build.RANDOM, build.STN, build.ADVERSARIAL}
    # A name alone is for what needs no settings.
    assert names(Baseline) == ARMS.keys() - {"policy_file", "compose"}


def test_defaults_of_the_settings_are_those_of_the_objects():
    """A baseline by its name alone is what its class makes without arguments."""
    for name in build.BASELINES.keys() - {"mixup", "cutmix", "policy_file", "compose"}:
        made = build.make_baseline(arm_of(name), 10)
        plain = type(made)()
        assert name == "flip_crop" or repr(vars(made)) == repr(vars(plain))


def test_learned_is_not_the_name_of_a_baseline():
    assert LEARNED not in names(Baseline)


@pytest.fixture
def study(make_study: StudyMaker) -> Study:
    return make_study()


@pytest.fixture
def pools(study: Study) -> Pools:
    return build.make_study_pools(study)


def weights(module: torch.nn.Module) -> Tensor:
    return torch.nn.utils.parameters_to_vector(module.parameters())


@pytest.mark.parametrize("name", build.CLASSIFIERS)
def test_classifiers(name: Any, pools: Pools):
    config = Classifier(name=name, width=8)
    before = torch.get_rng_state()
    first, again, other = (build.make_classifier(config, pools, seed, CPU) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))
    images = pools.labelled.images[:4].float() / 255
    assert first(images).shape == (4, 10)


@pytest.mark.parametrize("name", AUGMENTERS)
def test_augmenters(name: str, make_study: StudyMaker):
    study = make_study(f"augmenter.name={name}")
    before = torch.get_rng_state()
    first, again, other = (build.make_augmentation(study, LEARNED, seed, CPU, 10) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(first, Augmenter) and isinstance(again, Augmenter) and isinstance(other, Augmenter)
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_the_random_augmenter_is_the_learned_one_before_it_learns(make_study: StudyMaker):
    study = make_study("baselines=[{name: random_augmenter, label: untrained}]")
    assert study.method_of("untrained") == build.RANDOM
    learned = build.make_augmentation(study, LEARNED, 1, CPU, 10)
    frozen = build.make_augmentation(study, build.RANDOM, 1, CPU, 10)
    assert isinstance(frozen, Frozen) and isinstance(learned, Augmenter)
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    params = learned.draw(4, torch.Generator().manual_seed(3))
    assert torch.equal(frozen(images, torch.Generator().manual_seed(3)), learned(images, *params))


@pytest.mark.parametrize("name", sorted(names(Baseline) - set(build.LEARNING)))
def test_every_fixed_baseline_transforms_images(name: str, make_study: StudyMaker):
    augmentation = build.make_augmentation(make_study(f"baselines=[{name}]"), name, 1, CPU, 10)
    assert isinstance(augmentation, FixedAugmentation)
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    once, again = (augmentation(images, torch.Generator().manual_seed(5)) for _ in range(2))
    assert once.shape == images.shape
    assert torch.equal(once, again)


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("baselines=[{name: policy_file, path: absent}]", PolicyError),
        ("baselines=[{name: compose, steps: [flip, {name: policy_file, path: absent}]}]", PolicyError),
        ("classifier={name: resnet18_imagenet, weights: absent}", WeightsError),
    ],
)
def test_files_that_are_not_there_are_told_before_anything_starts(
    override, error, make_study: StudyMaker, pools: Pools
):
    with pytest.raises(error, match="absent: No such file"):
        build.check_files(make_study(override), pools)
    build.check_files(make_study("baselines=[none, stn, cutmix]"), pools)


AFFINE = "{name: affine, degrees: 10.0, translate: 0.0, scale: [0.5, 2.0]}"
PUBLISHED_LEVELS = {
    "0": "none",
    "1": "{name: crop, padding: 4}",
    "1.5": "flip",
    "2": "{name: flip_crop, padding: 4}",
    "2.5": f"{{name: crop, padding: 4}}, {AFFINE}",
    "3": f"{{name: crop, padding: 4}}, {AFFINE}, flip",
}
"""DABO's baselines on CIFAR, in the settings of a study file."""


@pytest.mark.parametrize("level", PUBLISHED_LEVELS)
def test_the_published_levels_can_be_written(level: str, make_study: StudyMaker):
    steps = PUBLISHED_LEVELS[level]
    study = make_study(
        f"baselines=[{{name: compose, label: plain, steps: [{steps}]}},"
        f"{{name: compose, label: jittered, steps: [{steps}, color_jitter]}}]"
    )
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain, jittered = (build.make_baseline(arm, 10) for arm in study.arms.values())
    assert isinstance(plain, Compose) and isinstance(jittered, Compose)
    assert repr(list(map(vars, plain.steps))) == repr(list(map(vars, jittered.steps[:-1]))) or level == "2"
    assert isinstance(jittered.steps[-1], ColorJitter)
    assert plain(images, torch.Generator().manual_seed(0)).shape == images.shape


def optimizer_of(num_updates: int = 1000, **settings: Any) -> torch.optim.Optimizer:
    config = AugmenterConfig(**settings)
    return build.OPTIMIZERS[config.optimizer](build.make_augmenter(config, 10), config, num_updates)


@pytest.mark.parametrize("name", build.OPTIMIZERS)
def test_optimizers_take_their_settings(name: str):
    decay = 0.0 if name == "shrunk_adam" else 0.25
    optimizer = optimizer_of(optimizer=name, lr=0.5, weight_decay=decay)
    assert optimizer.param_groups[0]["lr"] == 0.5
    for group in optimizer.param_groups:
        assert group.get("weight_decay", 0.0) == decay
        assert group.get("momentum", 0.9) == 0.9


@pytest.mark.parametrize(("num_updates", "lr"), [(10, 0.1), (800, 0.1), (8000, 0.01), (80_000, 0.001)])
def test_a_spread_can_go_as_far_in_a_long_training_as_in_a_short_one(num_updates: int, lr: float):
    optimizer = optimizer_of(num_updates)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(lr)
    memories = [1 / (1 - beta) for beta in optimizer.param_groups[0]["betas"]]
    assert memories == pytest.approx([max(20, num_updates / 40), max(20, num_updates)])


@pytest.mark.parametrize(
    ("num_steps", "inner_steps", "fraction"),
    [(1, 1, 1.0), (840, 1, 1.0), (3000, 3, 1.0), (8000, 8, 1.0), (16_000, 8, 0.5), (62_600, 8, 0.25)],
)
def test_a_training_takes_as_much_evidence_as_it_needs(num_steps: int, inner_steps: int, fraction: float):
    bilevel = Bilevel().for_training(num_steps)
    assert (bilevel.inner_steps, bilevel.mixed_batch_fraction) == (inner_steps, fraction)
    given = Bilevel(inner_steps=3, mixed_batch_fraction=0.125)
    assert given.for_training(num_steps) == given


def trial(method: str, phase: Phase, seed: int = 1) -> Trial:
    return Trial(name="t", phase=phase, arm=method, method=method, seed=seed, epochs=1)


@pytest.mark.parametrize("method", ["learned", "none", "random_augmenter", "stn", "adversarial"])
@pytest.mark.parametrize("phase", list(Phase))
def test_a_training_has_the_images_of_its_trial(method: str, phase: Phase, study: Study, pools: Pools):
    before = torch.get_rng_state()
    training = build.make_training(study, trial(method, phase), pools)
    assert torch.equal(torch.get_rng_state(), before)
    roles = pools.roles(
        learned=method == "learned", final=phase is Phase.FINAL, outer_fraction=study.data.outer_fraction, seed=1
    )
    assert torch.equal(training.fit.images.images, roles.fit.images)
    assert torch.equal(training.score.images, roles.score.images)
    assert training.score_name == ("test_accuracy" if phase is Phase.FINAL else "select_accuracy")
    assert (training.learner is None) == (method not in build.LEARNING)


def test_pools_follow_the_study(make_study: StudyMaker):
    pools = build.make_study_pools(make_study("data.test_fraction=0.5", "data.num_labels=100"))
    assert abs(len(pools.labelled) - 100) <= 10
    assert abs(len(pools.test) - 1797 / 2) <= 10
    default = build.make_study_pools(make_study())
    assert abs(len(default.test) - 1797 * build.TEST_FRACTION) <= 10


def test_data_that_is_not_there(make_study: StudyMaker):
    with pytest.raises(DataError, match=r"CIFAR-10 .*--download"):
        build.make_study_pools(make_study("data={name: cifar10}"))


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
    training = build.make_training(study, trial(method, Phase.SEARCH), pools)
    record = next(training.epochs())
    assert record["train_loss"] > 0
    if method == "learned":
        assert record["rotation_spread_deg"] > 0
        assert record["translation_spread_percent"] == 0
        assert isinstance(training.augmentation, Augmenter)
        assert training.augmentation.num_classes == (10 if conditioning == "class" else 0)


def test_the_published_network_by_settings(make_study: StudyMaker):
    study = make_study("augmenter={name: affine_matrix, hidden: [6, 60], noise: 6, dropout: 0.2, centre: free}")
    network = build.make_augmentation(study, LEARNED, 1, CPU, 10)
    assert isinstance(network, Augmenter)
    assert weights(network).numel() == 828


@pytest.mark.parametrize("name", AUGMENTERS)
def test_every_augmenter_learns(name: str, make_study: StudyMaker):
    study = make_study(
        f"augmenter.name={name}", "data.num_labels=200", "classifier={width: 8, batch_size: 32}", "bilevel.truncation=2"
    )
    training = build.make_training(study, trial("learned", Phase.SEARCH), build.make_study_pools(study))
    assert isinstance(training.augmentation, Augmenter)
    before = weights(training.augmentation).detach().clone()
    record = next(training.epochs())
    assert record["hypergradient_norm"] > 0
    assert any("_spread_" in key for key in record)
    assert any(key.startswith("probability_") for key in record) == (name == "policy")
    assert not torch.equal(weights(training.augmentation), before)
