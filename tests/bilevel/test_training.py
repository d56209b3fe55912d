"""Whole training runs: against an ordinary loop of PyTorch, against themselves, resumed, and gone wrong."""

from __future__ import annotations

import copy
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from dabo_ray.augment.affine import AffineMatrixAugmenter
from dabo_ray.augment.augmix import AugMix
from dabo_ray.augment.autoaugment import AutoAugment
from dabo_ray.augment.color_jitter import ColorJitter
from dabo_ray.augment.erasing import RandomErasing
from dabo_ray.augment.fast_autoaugment import FastAutoAugment
from dabo_ray.augment.fixed import FixedAugmentation, Identity
from dabo_ray.augment.frozen import FrozenAugmenter
from dabo_ray.augment.geometric import Flip, FlipCrop, RandomAffine
from dabo_ray.augment.mixing import CutMix, Mixup
from dabo_ray.augment.randaugment import TrivialAugmentWide
from dabo_ray.bilevel.finite import Diverged
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.schedule import Schedule
from dabo_ray.bilevel.sgd import Sgd
from dabo_ray.bilevel.step import OuterLossLearner
from dabo_ray.bilevel.task import classification
from dabo_ray.bilevel.training import Training
from dabo_ray.data.images import Images
from dabo_ray.data.loader import Batches
from dabo_ray.data.sources import load
from dabo_ray.models.normalize import Normalize
from dabo_ray.models.small_cnn import SmallCnn
from dabo_ray.seeds import derive
from dabo_ray.workers import Workers

CPU = torch.device("cpu")
BATCH = 16
SGD = Sgd.of(momentum=0.9, weight_decay=5e-4, nesterov=True)


def part(start: int, stop: int) -> Images:
    return load("digits", Path()).labelled.take(torch.arange(start, stop))


def network(*, batch_norm: bool) -> nn.Module:
    torch.manual_seed(0)
    body: nn.Module = SmallCnn((1, 8, 8), 10, width=8)
    if batch_norm:
        body = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Flatten(), nn.Linear(8, 10),
        )  # fmt: skip
    return nn.Sequential(Normalize.of(part(0, 200).images), body)


def augmenter() -> AffineMatrixAugmenter:
    torch.manual_seed(1)
    return AffineMatrixAugmenter(noise=6, hidden=8)


def training(
    augmentation: FixedAugmentation | AffineMatrixAugmenter,
    *,
    base: FixedAugmentation = Identity(),
    inner_steps: int = 1,
    truncation: int = 1,
    epochs: int = 3,
    lr: float = 0.1,
    seed: int = 0,
    batch_norm: bool = True,
    judged_on: Literal["select", "test"] = "select",
    device: torch.device = CPU,
) -> Training:
    """5 steps an epoch; 3 outer batches a pass."""
    outer = None
    if isinstance(augmentation, AffineMatrixAugmenter):
        augmentation.to(device)
        outer = OuterLossLearner(
            augmentation,
            Batches(part(200, 250), BATCH, derive(seed, "outer"), Workers(), device),
            inner_steps=inner_steps,
            truncation=truncation,
            optimizer=torch.optim.Adam(augmentation.parameters(), 0.01),
        )
    return Training(
        Objective(network(batch_norm=batch_norm).to(device)),
        classification(10),
        augmentation,
        base=base,
        learner=outer,
        fit=Batches(part(0, 90), BATCH, derive(seed, "fit"), Workers(), device),
        score=part(300, 400),
        part=judged_on,
        schedule=Schedule(epochs=epochs, lr=lr),
        sgd=SGD,
        seed=seed,
    )


HAND_MADE = {
    "flip_crop": FlipCrop(),
    "color_jitter": ColorJitter(hue=0.1),
    "random_erasing": RandomErasing(),
    "autoaugment": AutoAugment(),
    "augmix": AugMix(),
    "mixup": Mixup(10),
    "cutmix": CutMix(10),
    "policy": FastAutoAugment([[("Cutout", 0.5, 0.5), ("TranslateX", 0.5, 0.5)], [("Solarize", 0.5, 0.5)]]),
}


def records(run: Training) -> list[dict[str, float]]:
    return [{name: value for name, value in record.items() if name != "seconds"} for record in run.epochs()]


def assert_same(ours, theirs) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)


class OrdinaryLoop:
    """Training as every PyTorch tutorial has it, with the run's batches, noise and augmenters."""

    def __init__(self, run: Training, thetas) -> None:
        self.net = copy.deepcopy(run.objective.classifier).train()
        optimizer = torch.optim.SGD(self.net.parameters(), 1.0, momentum=0.9, weight_decay=5e-4, nesterov=True)
        steps = run.schedule.epochs * len(run.fit)
        cosine = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: run.schedule.lr * (1 + math.cos(math.pi * step / steps)) / 2
        )
        for number in range(steps):
            batch = run.fit[number]
            generator = torch.Generator().manual_seed(derive(run.seed, "augment", number))
            params = run.augmentation.draw(BATCH, generator)
            images = batch.images.float() / 255
            if isinstance(run.augmentation, FixedAugmentation):
                images = run.augmentation.apply(images, params)
            else:
                images = run.inputs.base(images, torch.Generator().manual_seed(derive(run.seed, "base", number)))
                like = copy.deepcopy(run.augmentation)
                for weight, value in zip(like.parameters(), thetas[number], strict=True):
                    weight.data = value
                images = like(images, *params).detach()
            optimizer.zero_grad()
            scores = self.net(images)
            losses = cross_entropy(scores, batch.labels, reduction="none")
            if isinstance(run.augmentation, Mixup):
                before = cross_entropy(scores, batch.labels.roll(1), reduction="none")
                losses = params[0].float() * losses + (1 - params[0].float()) * before
            losses.mean().backward()
            optimizer.step()
            cosine.step()


def assert_equals(run: Training, ordinary: OrdinaryLoop) -> None:
    for ours, trained, first in zip(
        run.weights, ordinary.net.parameters(), run.objective.classifier.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, trained, rtol=1e-5, atol=1e-6)
        assert not torch.equal(ours, first)
    for name, theirs in ordinary.net.named_buffers():
        torch.testing.assert_close(run.objective.buffers[name], theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("made", [Identity(), Flip(), FlipCrop(), RandomAffine(), TrivialAugmentWide(), Mixup(10)])
def test_without_an_outer_problem_it_is_ordinary_training(made: FixedAugmentation, batch_norm: bool) -> None:
    run = training(made, batch_norm=batch_norm)
    records(run)
    assert_equals(run, OrdinaryLoop(run, None))


@pytest.mark.parametrize(
    ("inner_steps", "truncation", "base"),
    [(1, 1, Identity()), (1, 3, Identity()), (4, 1, Identity()), (4, 3, FlipCrop()), (2, 7, Identity())],
)
def test_with_one_the_classifier_trains_as_ordinarily_on_the_same_augmenters(inner_steps, truncation, base) -> None:
    run = training(augmenter(), base=base, inner_steps=inner_steps, truncation=truncation)
    assert run.learner is not None
    learner, thetas, step = run.learner, [], run.step

    def watched(number: int):
        thetas.append(learner.theta)
        return step(number)

    run.step = watched  # type: ignore[method-assign]
    records(run)
    assert int(run.objective.buffers["1.1.num_batches_tracked"]) == 15
    assert_equals(run, OrdinaryLoop(run, thetas))
    # 15 updates of the classifier, 5 in each epoch: the count goes on across epochs.
    changed = [number for number in range(1, 15) if not torch.equal(thetas[number][0], thetas[number - 1][0])]
    assert changed == [number for number in range(1, 15) if number % inner_steps == 0]
    assert run.learner.updates == 15 // inner_steps


def test_same_seed_same_records_whatever_the_global_generator() -> None:
    runs = []
    for global_seed in (1, 2):
        run = training(augmenter(), inner_steps=2, truncation=3)
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        runs.append(records(run))
        assert torch.equal(torch.get_rng_state(), before)
    assert runs[0] == runs[1]
    other = records(training(augmenter(), inner_steps=2, truncation=3, seed=1))
    assert all(ours["train_loss"] != theirs["train_loss"] for ours, theirs in zip(runs[0], other, strict=True))


def test_epochs_do_not_repeat_noise() -> None:
    run = training(augmenter())
    noise = torch.cat([run.inputs.step(number, [], []).params[0] for number in range(15)])
    assert len(torch.unique(noise, dim=0)) == 15 * BATCH


@pytest.mark.parametrize("stop", [1, 2])
@pytest.mark.parametrize("inner_steps", [1, 4])
@pytest.mark.parametrize(("truncation", "base"), [(1, Identity()), (3, Identity()), (3, FlipCrop()), (8, Identity())])
def test_a_resumed_run_is_the_uninterrupted_run(stop: int, inner_steps: int, truncation: int, base) -> None:
    def begin() -> Training:
        return training(augmenter(), base=base, inner_steps=inner_steps, truncation=truncation)

    whole = begin()
    expected = records(whole)
    first = begin()
    epochs = first.epochs()
    begun = [next(epochs) for _ in range(stop)]
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    second = begin()
    second.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    rest = records(second)
    assert [record["train_loss"] for record in begun] == [record["train_loss"] for record in expected[:stop]]
    assert rest == expected[stop:]
    assert_same(second.weights, whole.weights)
    assert_same(second.objective.buffers.values(), whole.objective.buffers.values())


def test_a_fixed_augmentation_resumes_too() -> None:
    expected = records(training(Flip()))
    first, second = training(Flip()), training(Flip())
    next(first.epochs())
    second.load_state_dict(first.state_dict())
    assert records(second) == expected[1:]


def test_two_runs_from_one_state_do_not_disturb_each_other() -> None:
    first = training(Flip())
    next(first.epochs())
    state = copy.deepcopy(first.state_dict())
    kept = copy.deepcopy(state)
    run = training(Flip())
    run.load_state_dict(state)
    records(run)
    assert_same(state["buffers"].values(), kept["buffers"].values())


def test_the_state_after_an_epoch_follows_from_the_checkpoint_of_any_worker() -> None:
    """A checkpoint is written by one worker, so it must hold nothing of its own share of the images."""
    run = training(augmenter(), truncation=4)
    next(run.epochs())
    state = run.state_dict()
    assert [set(kept) for kept in state["learner"]["window"]] == [{"weights", "theta", "grads"}] * 3


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_window_holds_gradients_only_where_the_derivatives_of_an_update_need_them(clip_norm: float | None) -> None:
    """Each would be as large as the network."""
    run = training(augmenter(), truncation=3)
    run.inputs.sgd = replace(run.inputs.sgd, clip_norm=clip_norm)
    for number in range(2):
        run.step(number)
    assert run.learner is not None
    assert [bool(step.grads) for step in run.learner.window] == [clip_norm is not None] * 2


def test_test_is_scored_once_and_select_after_every_epoch() -> None:
    assert ["test_accuracy" in record for record in records(training(Flip(), judged_on="test"))] == [0, 0, 1]
    assert ["select_accuracy" in record for record in records(training(Flip()))] == [1, 1, 1]


def test_accuracy_uses_running_statistics_and_all_images() -> None:
    run = training(Identity())
    record = records(run)[-1]
    ordinary = OrdinaryLoop(run, None).net.eval()
    images = part(300, 400)
    right = (ordinary(images.images.float() / 255).argmax(1) == images.labels).sum()
    assert record["select_accuracy"] == 100 * int(right) / 100


def test_records_hold_the_losses_of_the_epoch() -> None:
    run = training(augmenter(), inner_steps=2)
    for number, record in enumerate(run.epochs(), start=1):
        assert record["epoch"] == number
        assert record["lr"] == pytest.approx(0.05 * (1 + math.cos(math.pi * (5 * number - 1) / 15)))
        assert record["outer_loss"] > 0
        assert record["hypergradient_norm"] > 0
        assert all(math.isfinite(value) for value in record.values())


def test_an_epoch_without_an_outer_update_has_no_outer_loss() -> None:
    found = ["outer_loss" in record for record in records(training(augmenter(), inner_steps=7))]
    assert found == [False, True, True]


class Broken(Identity):
    """Images that are not numbers, from one update on."""

    def __init__(self, step: int) -> None:
        self.calls, self.step = 0, step

    def apply(self, images, params):
        self.calls += 1
        return images * math.nan if self.calls == self.step else images


def run_to_divergence(run: Training) -> tuple[list[dict[str, float]], str]:
    found: list[dict[str, float]] = []
    with pytest.raises(Diverged) as error:
        found.extend(run.epochs())
    return found, str(error.value)


def test_images_that_are_not_numbers_end_the_run() -> None:
    found, message = run_to_divergence(training(Broken(8)))
    assert message == "diverged at epoch 2, step 3"
    assert len(found) == 1
    assert all(math.isfinite(value) for value in found[0].values())


@pytest.mark.parametrize("on_gpu", [False, True])
def test_the_weights_are_those_before_the_bad_step(on_gpu: bool) -> None:
    """Where values cannot be looked at, the rest of the epoch runs on and changes nothing."""
    run, good = training(Broken(8)), training(Identity())
    run.updates.guard._raises_at_once = not on_gpu
    found, message = run_to_divergence(run)
    assert (len(found), message) == (1, "diverged at epoch 2, step 3")
    good.objective.classifier.train()
    for number in range(7):
        good.step(number)
    assert_same(run.weights, good.weights)
    assert_same(run.velocity, good.velocity)
    assert_same(run.objective.buffers.values(), good.objective.buffers.values())


@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_hypergradient_that_is_not_a_number_does_not_reach_the_augmenter(on_gpu: bool) -> None:
    run = training(augmenter())
    run.updates.guard._raises_at_once = not on_gpu
    assert run.learner is not None
    before = run.learner.theta
    run.learner.engine = lambda *_: [torch.full_like(part, math.nan) for part in before]  # type: ignore[attr-defined]
    found, message = run_to_divergence(run)
    assert (found, message) == ([], "diverged at epoch 1, step 1")
    assert_same(run.learner.augmenter.parameters(), before)


@pytest.mark.parametrize("learned", [False, True])
def test_too_large_a_step_ends_the_run(learned: bool) -> None:
    run = training(augmenter() if learned else Identity(), lr=1e12, batch_norm=False)
    found, message = run_to_divergence(run)
    assert message.startswith("diverged at epoch 1, step ")
    assert found == []


def test_weights_that_overflow_in_the_last_update_do_not_pass_as_trained() -> None:
    run = training(Identity(), epochs=1, lr=1e38, batch_norm=False)
    run.inputs.fit = Batches(part(0, 16), BATCH, 0, Workers(), CPU)
    found, message = run_to_divergence(run)
    assert message == "diverged at epoch 1, step 1"
    assert found == []


@pytest.mark.parametrize(("inner_steps", "truncation"), [(1, 1), (2, 3)])
@pytest.mark.parametrize("kind", ["learned", "frozen", *HAND_MADE])
def test_steps_stay_on_the_device_and_never_wait_for_it(kind, inner_steps, truncation) -> None:
    """On the meta device tensors have no values: looking at one, or mixing devices, is an error."""
    learned = augmenter().to("meta")
    made = learned if kind == "learned" else FrozenAugmenter(learned) if kind == "frozen" else HAND_MADE[kind]
    run = training(made, inner_steps=inner_steps, truncation=truncation, device=torch.device("meta"))
    run.objective.classifier.train()
    for number in range(4):
        assert {value.device.type for value in run.step(number).values()} == {"meta"}
    assert {part.device.type for part in (*run.weights, *run.velocity, *run.objective.buffers.values())} == {"meta"}


@pytest.mark.filterwarnings("ignore:.*meta parameter")
def test_a_run_resumes_on_another_device() -> None:
    first = training(augmenter(), truncation=3)
    next(first.epochs())
    second = training(augmenter(), truncation=3, device=torch.device("meta"))
    assert second.learner is not None
    second.load_state_dict(first.state_dict())
    second.objective.classifier.train()
    second.step(5)
    for step in second.learner.window:
        parts = (*step.weights, *step.theta, *step.params, step.images, step.labels)
        assert {part.device.type for part in parts} == {"meta"}
