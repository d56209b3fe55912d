"""Steps as CUDA graphs against the same steps computed one kernel after the other, and against the CPU."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dabo_ray.assembly import make_training
from dabo_ray.augment.affine import AffineAugmenter, AffineMatrixAugmenter
from dabo_ray.augment.affine_color import AffineColorAugmenter
from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.fixed import Identity, Params
from dabo_ray.augment.policy import PolicyAugmenter
from dabo_ray.bilevel.bilevel_step import BilevelStep
from dabo_ray.bilevel.finite import Diverged
from dabo_ray.bilevel.graphs import EAGER_CALLS, GraphedUpdates, _tensors, _with_tensors
from dabo_ray.bilevel.step import Arguments, Computed, Updates
from dabo_ray.bilevel.training import Training
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.images import Images
from dabo_ray.data.splits import Pools
from dabo_ray.trials import LEARNED, Phase, Trial

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
STEPS = 6 * (EAGER_CALLS + 2)
EXACT = {"differentiate": "update", "antithetic": False, "mixed_batch_fraction": 1.0, "outer_batch_fraction": 1.0}
CASES: dict[str, dict[str, Any]] = {
    "default": {"bilevel": {"inner_steps": 3}},
    "exact": {"bilevel": {"inner_steps": 1, **EXACT}},
    "window": {"bilevel": {"inner_steps": 1, "truncation": 3}},
    "rare window": {"bilevel": {"inner_steps": 3, "truncation": 2}},
    "unrolled": {"bilevel": {"inner_steps": 2, "truncation": 2, "engine": "unrolled"}},
    "clipped": {"bilevel": {"inner_steps": 2}, "classifier": {"clip_norm": 0.5}},
    "color": {"bilevel": {"inner_steps": 2}, "augmenter": {"name": "affine_color"}},
    "policy": {"bilevel": {"inner_steps": 2}, "augmenter": {"name": "policy"}},
    "base": {"bilevel": {"inner_steps": 2}, "augmenter": {"base": ["flip_crop"]}},
    "conditional": {"bilevel": {"inner_steps": 2}, "augmenter": {"conditioning": "class"}},
    "stn": {"method": "stn"},
    "adversarial": {"method": "adversarial"},
    "none": {"method": "none"},
    "flip_crop": {"method": "flip_crop"},
    "random_augmenter": {"method": "random_augmenter"},
}


class SingleKernels(Updates):
    """A step computed one kernel after the other, from tensors alone, as a graph is recorded."""

    def _compute(self, given: Arguments) -> Computed:
        return super()._compute(_with_tensors(given, list(_tensors(given))))


def training(device: torch.device, settings: dict[str, Any], *, graphed: bool = True, epochs: int = 20) -> Training:
    generator = torch.Generator().manual_seed(0)
    images = Images(
        torch.randint(256, (64, 3, 16, 16), generator=generator, dtype=torch.uint8),
        torch.randint(10, (64,), generator=generator),
    )
    pools = Pools(images, images, images, torch.arange(4), num_classes=10)
    method = settings.get("method", LEARNED)
    study = StudyConfig.model_validate(
        {
            "study": "gpu",
            "data": {"name": "digits", "outer_fraction": 0.5},
            "classifier": {
                **{"name": "resnet18", "batch_size": 16, "nesterov": True, "lr": 0.05},
                **settings.get("classifier", {}),
            },
            "bilevel": {"warmup_fraction": 0.0, **settings.get("bilevel", {})},
            "augmenter": settings.get("augmenter", {}),
            "baselines": [] if method == LEARNED else [method],
        }
    )
    trial = Trial(name="t", phase=Phase.SEARCH, arm=method, method=method, seed=1, epochs=epochs)
    made = make_training(study, trial, pools, device=device)
    made.objective.classifier.train()
    if not graphed:
        made.updates = SingleKernels(
            made.objective, made.inputs.augment, made.learner, workers=made.workers, device=made.device
        )
    return made


def state(run: Training) -> list[Tensor]:
    learned = [] if run.learner is None else list(run.learner.augmenter.parameters())
    parts = (*run.weights, *run.velocity, *run.objective.buffers.values(), *learned)
    return [part.detach().double().cpu() for part in parts]


def distance(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Relative, of all tensors as one vector."""
    ours_flat, theirs_flat = (torch.cat([part.flatten() for part in parts]) for parts in (ours, theirs))
    return float((ours_flat - theirs_flat).norm() / theirs_flat.norm())


@pytest.mark.parametrize("name", CASES)
def test_every_training_is_recorded(name: str) -> None:
    """Of second derivatives of so deep a network float32 keeps a digit or two, so that losses alone are compared."""
    graphed, single = (training(GPU, CASES[name], graphed=graphed) for graphed in (True, False))
    assert isinstance(graphed.updates, GraphedUpdates)
    learner = graphed.learner
    every, reach = (1, 1) if learner is None else (learner.inner_steps, max(1, learner.truncation))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(every * (EAGER_CALLS + reach + 1)):
            ours, theirs = graphed.step(number), single.step(number)
            assert ours.keys() == theirs.keys()
            assert float(ours["train_loss"]) == pytest.approx(float(theirs["train_loss"]), rel=0.1)
    assert any(learner is None or key[0] for key in graphed.updates._recordings)  # type: ignore[index]


@pytest.mark.parametrize("name", ["default", "exact", "window", "none"])
def test_a_gpu_gives_what_the_cpu_gives(name: str) -> None:
    """Of second derivatives of so deep a network float32 keeps a digit or two, on the CPU as well."""
    on_gpu, on_cpu = (training(device, CASES[name]) for device in (GPU, CPU))
    for number in range(4):
        ours, theirs = on_gpu.step(number), on_cpu.step(number)
        for key, value in theirs.items():
            tolerance = 0.2 if key == "hypergradient_norm" else 1e-2
            assert float(ours[key]) == pytest.approx(float(value), rel=tolerance), (number, key)


class Broken(Identity):
    """Images that are not numbers."""

    def apply(self, images: Tensor, params: Params) -> Tensor:
        return images * torch.nan


def test_nothing_moves_after_a_bad_step() -> None:
    run = training(GPU, CASES["default"])
    for number in range(STEPS):
        run.step(number)
    before = state(run)
    run.inputs.base = Broken()
    for number in range(STEPS, STEPS + 5):
        run.step(number)
    for ours, theirs in zip(state(run), before, strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(Diverged, match=f"update {STEPS}"):
        run.updates.guard.raise_if_diverged()


AUGMENTERS: dict[str, Callable[[], Augmenter]] = {
    "affine": AffineAugmenter,
    "affine_color": AffineColorAugmenter,
    "policy": PolicyAugmenter,
    "conditional": lambda: AffineAugmenter(conditioning="class", num_classes=10),
    "matrix": AffineMatrixAugmenter,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {"inner_steps": 3},
    "exact": {"antithetic": False, "differentiate": "update"},
    "window": {"truncation": 3},
    "rare window": {"inner_steps": 3, "truncation": 2},
    "exact window": {"truncation": 2, "antithetic": False},
    "clipped": {"inner_steps": 2, "clip_norm": 0.5},
    "part": {"inner_steps": 2, "mixed_batch_fraction": 0.5},
}


def library_step(
    *, cuda_graphs: bool, model: nn.Module | None = None, augmenter: str = "affine", **options: Any
) -> BilevelStep:
    torch.manual_seed(0)
    model = model or nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    model.to(GPU, torch.float64).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.125, momentum=0.9, nesterov=True, weight_decay=1e-3)
    made = AUGMENTERS[augmenter]().to(GPU, torch.float64)
    return BilevelStep(model, optimizer, made, cuda_graphs=cuda_graphs, warmup_loss=None, **options)


def batches(number: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    images = torch.rand(2, 32, 3, 16, 16, generator=generator)
    labels = torch.randint(10, (2, 32), generator=generator)
    return images[0], labels[0], images[1], labels[1]


def trained(trainer: BilevelStep, steps: int) -> list[Tensor]:
    scheduler = torch.optim.lr_scheduler.StepLR(trainer._sgd.optimizer, 4, 0.5)
    for number in range(steps):
        trainer.step(*batches(number))
        scheduler.step()
    parts = (*trainer.model.state_dict().values(), *trainer.augmenter.parameters())
    return [part.detach().double().cpu() for part in parts]


@pytest.mark.parametrize(
    ("options", "augmenter"),
    [*((name, "affine") for name in OPTIONS), *(("default", name) for name in AUGMENTERS if name != "affine")],
)
def test_graphs_give_what_single_kernels_give(options: str, augmenter: str) -> None:
    """In float64, with a learning rate that a scheduler changes, and that float32 holds exactly as the kernels do."""
    graphed, single = (
        library_step(cuda_graphs=cuda_graphs, augmenter=augmenter, **OPTIONS[options]) for cuda_graphs in (True, False)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours, theirs = (trained(trainer, 21) for trainer in (graphed, single))
    assert any(key[0] for key in graphed._updates._recordings)  # type: ignore[attr-defined]
    assert distance(ours, theirs) < 1e-9


def test_garbage_that_holds_graphs_does_not_end_a_recording() -> None:
    """A trial before this one in the same process leaves some; a collection comes whenever Python likes."""
    threshold = gc.get_threshold()
    old = library_step(cuda_graphs=True)
    trained(old, 8)
    old.itself = old  # type: ignore[attr-defined]
    del old
    gc.set_threshold(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            trained(library_step(cuda_graphs=True), 8)
    finally:
        gc.set_threshold(*threshold)


class Waiting(nn.Module):
    """A network that looks at its images."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, 10)

    def forward(self, images: Tensor) -> Tensor:
        scale = 1 + float(images.detach().mean())
        scores: Tensor = self.last(images.mean((2, 3))) * scale
        return scores


def test_what_cannot_be_recorded_is_computed_as_usual_with_a_warning() -> None:
    trainer = library_step(cuda_graphs=True, model=Waiting())
    with pytest.warns(UserWarning, match="without CUDA graphs.*captur"):
        [trainer.step(*batches(number)) for number in range(12)]
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert torch.rand(3, device=GPU).isfinite().all()
    other = library_step(cuda_graphs=False, model=Waiting())
    for number in range(12):
        other.step(*batches(number))
    ours, theirs = ([part.detach().cpu() for part in each.model.parameters()] for each in (trainer, other))
    assert distance(ours, theirs) < 1e-9


def test_dropout_is_computed_as_usual_with_a_warning() -> None:
    run = training(GPU, {"bilevel": {"inner_steps": 2}, "classifier": {"dropout": 0.2}})
    with pytest.warns(UserWarning, match="masks of dropout"):
        run.step(0)
    assert float(run.step(1)["outer_loss"]) > 0
