"""Two workers with a part of every batch each take the steps of one worker with all of it."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.multiprocessing.spawn import spawn

from dabo_ray.augment.affine import AffineMatrixAugmenter
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.fixed import FixedAugmentation, Identity
from dabo_ray.augment.geometric import Flip, FlipCrop
from dabo_ray.bilevel.estimator import Estimator
from dabo_ray.bilevel.hypergradient import Engine, adjoint_hypergradient
from dabo_ray.bilevel.learner import Learner
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.schedule import Schedule
from dabo_ray.bilevel.sgd import Sgd
from dabo_ray.bilevel.step import OuterLossLearner
from dabo_ray.bilevel.task import classification, segmentation
from dabo_ray.bilevel.training import Training
from dabo_ray.bilevel.training_loss import TrainingLossLearner
from dabo_ray.bilevel.unrolled import unrolled_hypergradient
from dabo_ray.data.images import Images
from dabo_ray.data.loader import Batches
from dabo_ray.data.sources import load
from dabo_ray.models.normalize import Normalize
from dabo_ray.models.small_cnn import SmallCnn
from dabo_ray.models.unet import UNet
from dabo_ray.workers import DistributedWorkers, Workers

WORKERS = 2
SGD = Sgd.of(momentum=0.9, weight_decay=5e-4)


class Float64Affine(AffineMatrixAugmenter):
    """float64, so that the order of summation does not hide a missing term."""

    def draw(self, num_images, generator):
        return tuple(part.double() for part in super().draw(num_images, generator))

    def carry_out(self, images, decided):
        return super().carry_out(images.double(), decided)


def part(start: int, stop: int, masks: bool = False) -> Images:
    digits = load("digits", Path()).labelled
    if masks:
        # Ink is a class by itself.
        digits = replace(digits, masks=(digits.images[:, 0] > 100).to(torch.uint8))
    return digits.take(torch.arange(start, stop))


def training(
    workers: Workers,
    *,
    truncation: int = 1,
    batch: int = 13,
    learned: bool = True,
    batch_norm: bool = False,
    dropout: float = 0.0,
    clip_norm: float | None = None,
    label_smoothing: float = 0.0,
    estimate: bool = False,
    engine: Engine = adjoint_hypergradient,
    direct: bool = False,
    budget: float | None = None,
    base: FixedAugmentation = Identity(),
    masks: bool = False,
) -> Training:
    torch.manual_seed(0)
    small = SmallCnn((1, 8, 8), 10, width=8)
    if dropout:
        small.head = nn.Sequential(nn.Dropout(dropout), small.head)  # type: ignore[assignment]
    body: nn.Module = small
    sgd = replace(SGD, clip_norm=clip_norm)
    if batch_norm:
        body = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10))
    if masks:
        body = UNet(1, 2, width=8)
    augmenter = Float64Affine(noise=6, hidden=8).double()
    shared: dict[str, Any] = {
        "inner_steps": 2,
        "optimizer": torch.optim.SGD(augmenter.parameters(), 0.3),
        "workers": workers,
    }
    learner: Learner = TrainingLossLearner(augmenter, budget=budget, **shared)
    if not direct:
        learner = OuterLossLearner(
            augmenter,
            Batches(part(200, 250, masks), batch, 1, workers, torch.device("cpu")),
            truncation=truncation,
            engine=engine,
            estimator=Estimator(workers=workers, fraction=0.5, antithetic=augmenter.antithetic) if estimate else None,
            **shared,
        )
    task = segmentation(2, dice=0.5) if masks else classification(10, label_smoothing)
    return Training(
        Objective(nn.Sequential(Normalize.of(part(0, 200).images), body).double(), task.criterion),
        task,
        augmenter if learned else Flip(),
        base=base,
        learner=learner if learned else None,
        fit=Batches(part(0, 90, masks), batch, 0, workers, torch.device("cpu")),
        score=part(300, 403, masks),
        part="select",
        schedule=Schedule(epochs=3, lr=0.1),
        sgd=sgd,
        seed=0,
        workers=workers,
    )


CASES: dict[str, dict[str, Any]] = {
    "K = 1": {"truncation": 1, "batch": 16},
    "K = 3": {"truncation": 3, "batch": 16},
    "K = 1, uneven": {"truncation": 1, "batch": 13},
    "K = 3, uneven": {"truncation": 3, "batch": 13},
    "K = 1, options": {"dropout": 0.3, "clip_norm": 0.3, "label_smoothing": 0.1},
    "K = 3, options": {"truncation": 3, "dropout": 0.3, "clip_norm": 0.3, "label_smoothing": 0.1},
    "K = 3, unrolled": {"truncation": 3, "clip_norm": 0.3, "engine": unrolled_hypergradient},
    "K = 3, estimated": {"truncation": 3, "dropout": 0.3, "clip_norm": 0.3, "estimate": True},
    "K = 3, after a base": {"truncation": 3, "estimate": True, "base": FlipCrop()},
    "stn": {"direct": True},
    "masks": {"truncation": 3, "estimate": True, "base": FlipCrop(), "masks": True},
    "masks, adversarial": {"direct": True, "budget": 0.2, "masks": True},
    "masks, flip, uneven": {"batch": 13, "learned": False, "masks": True},
    "adversarial": {"direct": True, "budget": 0.2},
    "flip, uneven": {"truncation": 1, "batch": 13, "learned": False},
    "batch norm": {"truncation": 3, "batch": 16, "batch_norm": True},
}
RESUMED = ["K = 3", "K = 3, options", "K = 3, after a base", "stn", "batch norm", "masks"]
WITHOUT_STATISTICS = [name for name in CASES if name != "batch norm"]


def result(run: Training, first_epochs: int = 0) -> dict[str, Any]:
    """Records, and all that training has changed."""
    epochs = run.epochs()
    for _ in range(first_epochs):
        next(epochs)
    # The tensors of a state are those that training goes on with.
    state = copy.deepcopy(run.state_dict()) if first_epochs else None
    records = [{name: value for name, value in record.items() if name != "seconds"} for record in epochs]
    augmenter = [part.detach() for part in run.learner.augmenter.parameters()] if run.learner is not None else []
    weights = [part.detach() for part in run.weights]
    return {
        "records": records, "weights": weights, "augmenter": augmenter, "buffers": list(run.objective.buffers.values()),
        "state": state,
    }  # fmt: skip


def worker(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORKERS)
    workers = DistributedWorkers()
    results = {name: result(training(workers, **settings)) for name, settings in CASES.items()}
    for name in RESUMED:
        begun = result(training(workers, **CASES[name]), first_epochs=1)
        if rank == 0:
            torch.save(begun["state"], folder / "state")
        torch.distributed.barrier()
        resumed = training(workers, **CASES[name])
        resumed.load_state_dict(torch.load(folder / "state", weights_only=True))
        results[f"{name}, resumed"] = result(resumed)
        torch.distributed.barrier()
    torch.save(results, folder / f"results{rank}")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def of_workers(tmp_path_factory) -> list[dict[str, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("workers")
    spawn(worker, (folder,), nprocs=WORKERS)
    return [torch.load(folder / f"results{rank}", weights_only=True) for rank in range(WORKERS)]


def assert_close(ours, theirs, rtol: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("name", WITHOUT_STATISTICS)
def test_two_workers_equal_one(of_workers, name: str) -> None:
    alone = result(training(Workers(), **CASES[name]))
    for of_worker in of_workers:
        shared = of_worker[name]
        assert_close(shared["weights"], alone["weights"], 1e-9)
        assert_close(shared["augmenter"], alone["augmenter"], 1e-9)
        for record, expected in zip(shared["records"], alone["records"], strict=True):
            assert record == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_workers_agree_to_the_last_bit(of_workers, name: str) -> None:
    one, other = (of_worker[name] for of_worker in of_workers)
    assert one["records"] == other["records"]
    for kind in ("weights", "augmenter", "buffers"):
        assert all(torch.equal(a, b) for a, b in zip(one[kind], other[kind], strict=True)), kind


@pytest.mark.parametrize("name", RESUMED)
def test_workers_resume_from_the_checkpoint_of_the_first(of_workers, name: str) -> None:
    for of_worker in of_workers:
        resumed, whole = of_worker[f"{name}, resumed"], of_worker[name]
        assert resumed["records"] == whole["records"][1:]
        for kind in ("weights", "augmenter", "buffers"):
            assert all(torch.equal(a, b) for a, b in zip(resumed[kind], whole[kind], strict=True)), kind


def test_one_worker_has_nothing_to_add() -> None:
    tensors = [torch.ones(2), torch.ones(3)]
    assert all(one is other for one, other in zip(Workers().sum(tensors), tensors, strict=True))


def test_the_cases_learn(of_workers) -> None:
    """Equality of workers that change nothing would prove nothing."""
    untrained = training(Workers(), **CASES["K = 3"])
    assert isinstance(untrained.augmentation, Augmenter)
    trained = of_workers[0]["K = 3"]["augmenter"]
    moves = [(a - b).abs().max() for a, b in zip(trained, untrained.augmentation.parameters(), strict=True)]
    assert max(moves) > 1e-3
