"""Subjects of the benchmarks of steps: networks of two sizes with random images, as a study builds them."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dabo_ray.assembly import make_training
from dabo_ray.augment.functional import to_unit
from dabo_ray.bilevel.training import Training
from dabo_ray.config.schema import AugmenterConfig, BilevelConfig, ClassifierConfig, DataConfig, StudyConfig
from dabo_ray.data.images import Images
from dabo_ray.data.splits import Pools
from dabo_ray.trials import LEARNED, Phase, Trial

LONG_TRAINING = 200 * 313
"""Updates of the classifier in DABO's training on CIFAR-10."""

AMORTISED = BilevelConfig().for_training(LONG_TRAINING)
"""What a study file that says nothing else gets there, whose cost is promised to be small."""

NUM_BATCHES = 4


@dataclass(frozen=True)
class Size:
    """A network and a batch for it."""

    network: Literal["resnet18", "small_cnn"]
    shape: tuple[int, int, int]
    """Channels, height and width of an image."""

    batch: int

    def __str__(self) -> str:
        return f"{self.network} {self.shape[1]}px batch {self.batch}"


SIZES = [
    *(Size("resnet18", (3, 32, 32), batch) for batch in (32, 128)),
    *(Size("small_cnn", (1, 28, 28), batch) for batch in (32, 128)),
]


def bilevel_training(
    size: Size,
    bilevel: BilevelConfig,
    device: torch.device,
    *,
    method: str = LEARNED,
    precision: Literal["float32", "bfloat16"] = "float32",
    base: Sequence[Literal["flip", "flip_crop"]] = (),
) -> Training:
    """A training before its first step, learned unless another method is named."""
    generator = torch.Generator().manual_seed(0)
    shape = (NUM_BATCHES * size.batch, *size.shape)
    images = Images(
        torch.randint(256, shape, generator=generator, dtype=torch.uint8),
        torch.randint(10, shape[:1], generator=generator),
    )
    pools = Pools(images, images, images, torch.arange(1), num_classes=10)
    study = StudyConfig(
        study="bench",
        data=DataConfig(name="digits", outer_fraction=0.5),
        classifier=ClassifierConfig(name=size.network, batch_size=size.batch, nesterov=True, precision=precision),
        augmenter=AugmenterConfig(base=list(base)),
        # What is measured is the step after the warm-up.
        bilevel=bilevel.model_copy(update={"warmup_fraction": 0.0, "warmup_loss": None}),
        baselines=[] if method == LEARNED else [method],  # type: ignore[list-item]
    )
    trial = Trial(name="bench", phase=Phase.SEARCH, arm=method, method=method, seed=0, epochs=1000)
    training = make_training(study, trial, pools, device=device)
    training.objective.classifier.train()
    return training


def fill_window(training: Training) -> None:
    """Past updates for the hypergradient to flow through, from copies of the weights and without the work."""
    assert training.learner is not None and training.learner.window.maxlen is not None
    for number in range(training.learner.window.maxlen):
        weights, theta = (
            [part.detach().clone().requires_grad_() for part in parts]
            for parts in (training.weights, training.learner.theta)
        )
        training.learner.window.append(training.inputs.step(number, weights, theta))


def bilevel_steps(training: Training) -> Callable[[], None]:
    """As many classifier updates as there are to one of the augmenter, and that one."""
    assert training.learner is not None
    inner_steps = training.learner.inner_steps

    def run() -> None:
        for number in range(inner_steps):
            training.step(number)

    return run


def published_step(training: Training) -> Callable[[], None]:
    """A step as in the published code: one look-ahead update of the classifier, double backward into all leaves.

    It fills every weight's gradient with a graph, differentiates once more without saying by what, watches the
    augmenter for anomalies and collects garbage after every batch.
    """
    assert training.learner is not None
    net, augmenter = training.objective.classifier, training.learner.augmenter
    names, weights = zip(*net.named_parameters(), strict=True)
    classifier_optimizer = torch.optim.SGD(weights, 0.1, momentum=0.9, weight_decay=5e-4)
    augmenter_optimizer = torch.optim.SGD(augmenter.parameters(), 0.2, momentum=0.9, weight_decay=0.01)

    def run() -> None:
        with warnings.catch_warnings():
            # Of anomaly detection and of gradients that hold their graph: they are the point.
            warnings.simplefilter("ignore")
            step()

    def step() -> None:
        batch, valid = training.fit[0], training.fit[1]
        params = augmenter.draw(batch.size, torch.Generator().manual_seed(0))
        classifier_optimizer.zero_grad()
        augmenter_optimizer.zero_grad()
        with torch.autograd.detect_anomaly(check_nan=False):
            images = augmenter(to_unit(batch.images), *(part.to(training.device) for part in params))
        _backward(cross_entropy(net(images), batch.labels), create_graph=True)
        grads = [weight.grad for weight in weights]
        ahead = {name: w - 0.1 * grad for name, w, grad in zip(names, weights, grads, strict=True) if grad is not None}
        scores = torch.func.functional_call(net, ahead, (to_unit(valid.images),))
        kept = [grad.detach().clone() for grad in grads if grad is not None]
        _backward(cross_entropy(scores, valid.labels))
        augmenter_optimizer.step()
        for weight, grad in zip(weights, kept, strict=True):
            weight.grad = grad
        classifier_optimizer.step()
        gc.collect()

    return run


def _backward(loss: Tensor, *, create_graph: bool = False) -> None:
    loss.backward(create_graph=create_graph)  # type: ignore[no-untyped-call]


def with_truncation(truncation: int, engine: Literal["adjoint", "unrolled"] = "adjoint") -> BilevelConfig:
    """One update of the augmenter for each of the classifier, through the latest K."""
    return BilevelConfig(
        inner_steps=1,
        truncation=truncation,
        engine=engine,
        differentiate="update",
        outer_batch_fraction=1.0,
        mixed_batch_fraction=1.0,
        antithetic=False,
    )
