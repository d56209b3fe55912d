"""The adjoint hypergradient against double backward through unrolled training, a closed form, finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dabo_ray.augment.registry import AUGMENTERS
from dabo_ray.bilevel.hypergradient import InnerProblem, InnerStep, adjoint_hypergradient, inner_gradient
from dabo_ray.bilevel.sgd import Sgd
from dabo_ray.models.resnet import CifarResNet
from dabo_ray.models.small_cnn import SmallCnn
from dabo_ray.workers import Workers

RULES = {
    "plain": Sgd.of(),
    "momentum, weight decay": Sgd.of(momentum=0.9, weight_decay=1e-2),
    "nesterov, weight decay": Sgd.of(momentum=0.9, weight_decay=1e-2, nesterov=True),
}


def bare() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 10))


def smooth() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.Softplus(), nn.Flatten(), nn.Linear(216, 12), nn.Tanh(), nn.Linear(12, 10)
    )


def batch_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


NETWORKS = {"bare": bare, "group norm": lambda: SmallCnn((1, 8, 8), 10, width=8), "batch norm": batch_norm}


def adjoint(problem, *, latest: bool):
    steps, weights = problem.window()
    at_hand = inner_gradient(problem.inner, steps[-1], in_weights=len(steps) > 1)[1] if latest else None
    return adjoint_hypergradient(problem.inner, steps, problem.outer_grad(weights), Workers(), at_hand)


@pytest.mark.parametrize("inner_steps", [1, 4])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 5])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("network", NETWORKS)
def test_equals_unrolled_training(make_problem, relative_error, network, rule, num_steps, inner_steps) -> None:
    problem = make_problem(NETWORKS[network](), num_steps=num_steps, inner_steps=inner_steps, sgd=RULES[rule])
    expected = problem.unrolled_hypergradient()
    assert torch.cat([part.flatten() for part in expected]).norm() > 1e-4
    for latest in (False, True):
        assert relative_error(adjoint(problem, latest=latest), expected) < 1e-9


@pytest.mark.parametrize("centred", [True, False])
def test_equals_unrolled_training_on_a_residual_network(make_problem, relative_error, centred) -> None:
    network = CifarResNet(1, 10, blocks=(1, 1, 1, 1))
    problem = make_problem(network, num_steps=2, sgd=RULES["nesterov, weight decay"], centred=centred)
    assert relative_error(adjoint(problem, latest=True), problem.unrolled_hypergradient()) < 1e-9


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"centred": False},
        {"dropout": 0.3},
        {"conditioning": "class", "num_classes": 10},
        {"conditioning": "image", "centred": False},
    ],
    ids=lambda options: " ".join(map(str, options.values())) or "default",
)
@pytest.mark.parametrize("name", AUGMENTERS)
def test_all_forms_of_the_augmenter(make_problem, relative_error, name, options) -> None:
    problem = make_problem(bare(), num_steps=3, sgd=RULES["momentum, weight decay"], form=AUGMENTERS[name], **options)
    assert relative_error(adjoint(problem, latest=False), problem.unrolled_hypergradient()) < 1e-9


@pytest.mark.parametrize("num_steps", [1, 3])
@pytest.mark.parametrize("rule", RULES)
def test_equals_finite_differences_on_a_smooth_network(make_problem, rule, num_steps) -> None:
    problem = make_problem(smooth(), num_steps=num_steps, inner_steps=4, sgd=RULES[rule])
    grads = adjoint(problem, latest=True)
    (theta,) = problem.thetas
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        direction = [torch.randn(part.shape, dtype=torch.float64, generator=generator) for part in theta]

        def loss(eps: float, direction=direction) -> float:
            moved = [part + eps * towards for part, towards in zip(theta, direction, strict=True)]
            return float(problem.unrolled_loss([moved], create_graph=False).detach())

        expected = sum(float((grad * towards).sum()) for grad, towards in zip(grads, direction, strict=True))
        assert (loss(1e-6) - loss(-1e-6)) / 2e-6 == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.0, 0.3), (0.9, 0.0), (0.9, 0.3)])
@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_closed_form_of_a_quadratic(num_steps: int, momentum: float, decay: float, nesterov: bool) -> None:
    """L(w, a) = (w - a)^2 / 2, f(w) = (w - t)^2 / 2: the update is linear, (w, m)' = A (w, m) + a b.

    So d w_K / da = e_w (I + A + ... + A^(K-1)) b, and without momentum and decay 1 - (1 - lr)^K.
    """
    w, a, target, lr = 0.3, 0.7, 1.0, 0.1
    sgd = Sgd.of(momentum=momentum, weight_decay=decay, nesterov=nesterov, lr=lr)
    problem = InnerProblem(
        augment=lambda theta, images, labels, params: (images + theta[0], labels),
        loss=lambda weights, augmented, labels, size, masks: (weights[0] - augmented).square().sum() / 2,
    )

    def scalar(value: float) -> torch.Tensor:
        return torch.tensor([value], dtype=torch.float64)

    weights, velocity, steps = [scalar(w).requires_grad_()], [scalar(0.0)], []
    for _ in range(num_steps):
        theta = [scalar(a).requires_grad_()]
        steps.append(InnerStep(weights, theta, scalar(0.0), torch.empty(0), (), 1, sgd))
        weights = [weights[0].detach().clone().requires_grad_()]
        sgd.step(weights, velocity, [weights[0].detach() - a])
    outer_grad = [weights[0].detach() - target]
    (grad,) = adjoint_hypergradient(problem, steps, outer_grad, Workers())

    slope = 1 + decay
    of_direction = (slope * (1 + momentum), momentum**2, -(1 + momentum)) if nesterov else (slope, momentum, -1.0)
    matrix = torch.tensor([[1 - lr * of_direction[0], -lr * of_direction[1]], [slope, momentum]], dtype=torch.float64)
    by_a = torch.tensor([-lr * of_direction[2], -1.0], dtype=torch.float64)
    powers = sum(torch.linalg.matrix_power(matrix, power) for power in range(num_steps))
    assert float(grad) == pytest.approx(float(outer_grad[0] * (powers @ by_a)[0]), rel=1e-12)
    if momentum == decay == 0:
        after = a + (1 - lr) ** num_steps * (w - a)
        assert float(grad) == pytest.approx((after - target) * (1 - (1 - lr) ** num_steps), rel=1e-12)


def test_nothing_given_is_changed(make_problem) -> None:
    problem = make_problem(batch_norm(), num_steps=3, sgd=RULES["momentum, weight decay"])
    steps, weights = problem.window()
    outer_grad = problem.outer_grad(weights)
    given = [
        *outer_grad,
        *problem.network.buffers(),
        *(part for step in steps for part in (*step.weights, *step.theta)),
    ]
    before = [part.detach().clone() for part in given]
    adjoint_hypergradient(problem.inner, steps, outer_grad, Workers())
    assert all(torch.equal(part, old) for part, old in zip(given, before, strict=True))
    assert all(part.grad is None for part in given)
