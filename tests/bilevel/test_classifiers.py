"""Every kind of classifier can be differentiated twice: its hypergradient equals that of unrolled training."""

from __future__ import annotations

import pytest

from dabo_ray.bilevel.hypergradient import adjoint_hypergradient
from dabo_ray.bilevel.sgd import Sgd
from dabo_ray.models.imagenet import imagenet_resnet
from dabo_ray.models.resnet import CifarResNet
from dabo_ray.models.wide_resnet import WideResNet
from dabo_ray.workers import Workers


@pytest.mark.parametrize(
    ("make", "num_steps"),
    [
        (lambda: CifarResNet(1, 10, (1, 1, 1, 1), bottleneck=True, width=4), 2),
        (lambda: WideResNet(1, 10, depth=10, widen=2, base=4), 2),
        (lambda: imagenet_resnet("resnet18", 1, 10), 1),
    ],
    ids=["bottlenecks", "wide", "imagenet"],
)
def test_equals_unrolled_training(make_problem, relative_error, make, num_steps) -> None:
    problem = make_problem(make(), num_steps=num_steps, sgd=Sgd.of(momentum=0.9, weight_decay=1e-2, nesterov=True))
    steps, weights = problem.window()
    ours = adjoint_hypergradient(problem.inner, steps, problem.outer_grad(weights), Workers())
    assert relative_error(ours, problem.unrolled_hypergradient()) < 1e-9
