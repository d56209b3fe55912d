"""The optimiser against Adam, noise and signal."""

import math

import pytest
import torch

from dabo_ray.bilevel.shrunk_adam import ShrunkAdam


def steps_taken(optimizer: torch.optim.Optimizer, weight: torch.Tensor, grads: torch.Tensor) -> torch.Tensor:
    """The weight after each gradient."""
    path = []
    for grad in grads:
        weight.grad = grad.clone()
        optimizer.step()
        path.append(weight.detach().clone())
    return torch.stack(path)


def test_constant_gradients_step_as_adam_but_for_the_last_bit_of_doubt():
    """Without noise m = v^(1/2), so r = (1 + beta1) / (1 - beta1) = 19 in the long run, and the factor 18/19."""
    ours, theirs = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    grads = torch.tensor([1.0, -2.0, 1e-6], dtype=torch.float64).expand(400, 3)
    path = steps_taken(ShrunkAdam([ours], 0.1), ours, grads)
    adam = steps_taken(torch.optim.Adam([theirs], 0.1, eps=1e-20), theirs, grads)
    ratio = (path[-1] - path[-2]) / (adam[-1] - adam[-2])
    torch.testing.assert_close(ratio, torch.full_like(ratio, 18 / 19), rtol=1e-6, atol=0)


def test_the_first_gradient_is_no_evidence():
    """One number can always be chance: r = 1."""
    weight = torch.zeros(5)
    ShrunkAdam([weight], 0.1)
    path = steps_taken(ShrunkAdam([weight], 0.1), weight, torch.ones(1, 5))
    assert torch.equal(path[0], torch.zeros(5))


@pytest.mark.parametrize("pooled", [False, True])
def test_noise_moves_it_far_less_than_adam_and_a_signal_as_far(pooled: bool):
    """Per-number shrinkage still takes the chance outliers; pooled, noise of many numbers is recognised as noise."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1000, 200, generator=generator)

    def travelled(make, signal):
        weight = torch.zeros(200)
        path = steps_taken(make(weight), weight, noise + signal)
        return float(path.diff(dim=0).abs().mean()), float(path[-1].abs().mean())

    def shrunk(weight):
        return ShrunkAdam([{"params": [weight], "pooled": pooled}], 0.01)

    def adam(weight):
        return torch.optim.Adam([weight], 0.01)

    step, _ = travelled(shrunk, 0.0)
    adam_step, _ = travelled(adam, 0.0)
    assert step < (0.1 if pooled else 0.5) * adam_step
    _, distance = travelled(shrunk, 3.0)
    _, adam_distance = travelled(adam, 3.0)
    assert distance > 0.9 * adam_distance


def test_numbers_without_a_gradient_stay():
    weight = torch.ones(2)
    path = steps_taken(ShrunkAdam([weight], 0.1), weight, torch.tensor([[0.0, 1.0]]).expand(50, 2))
    assert path[-1][0] == 1
    assert path[-1][1] < 0
    assert path.isfinite().all()


def spread_after(signal: float, *, start: float = 0.02, num_updates: int = 1000, scale: float = 1.0) -> float:
    """A spread after a training in which the derivative of the loss by its square is noise and a signal."""
    generator = torch.Generator().manual_seed(3)
    log_spread = torch.full((50,), math.log(start))
    group = {"params": [log_spread], "lr": 80 / num_updates, "log_spread": True, "prior": 0.05}
    optimizer = ShrunkAdam.over([group], num_updates)
    for _ in range(num_updates):
        of_square = scale * (torch.randn(50, generator=generator) - signal)
        log_spread.grad = of_square * 2 * (2 * log_spread).exp()
        optimizer.step()
    return float(log_spread.mean().exp())


@pytest.mark.parametrize("num_updates", [600, 6000])
def test_spreads_stay_without_evidence_and_go_far_with_it(num_updates: int):
    """The same in a training ten times as long, though its sums of gradients are ten times as large."""
    assert spread_after(0.0, num_updates=num_updates) == pytest.approx(0.02, rel=0.3)
    assert spread_after(-0.3, num_updates=num_updates) < 1e-3
    assert spread_after(0.3, num_updates=num_updates) > 1.0


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_unit_of_the_loss_does_not_matter(scale: float):
    assert spread_after(0.1, scale=scale) == pytest.approx(spread_after(0.1), rel=1e-3)


def test_the_prior_dies_away_with_the_gradients():
    """The last gradients have a thousandth of the size of the others: in the end nothing moves any more."""
    generator = torch.Generator().manual_seed(0)
    grads = torch.randn(1000, 20, generator=generator)
    grads[700:] *= 1e-3
    weight = torch.zeros(20)
    path = steps_taken(ShrunkAdam.over([{"params": [weight], "lr": 0.1, "prior": 0.05}], 1000), weight, grads)
    assert (path[699] - path[400]).abs().max() > 0.1
    # By then the memory of the large ones, of 50 updates at most, has gone.
    assert (path[999] - path[990]).abs().max() < 0.02 * (path[699] - path[690]).abs().max()


def test_a_signal_is_followed_as_fast_when_gradients_have_become_small():
    """Noise of size 1, then of a tenth of it with a signal of half its size; and that signal from the start."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1000, 50, generator=generator)
    late = torch.cat((noise[:500], 0.1 * (noise[500:] + 0.5)))

    def travelled(grads: torch.Tensor) -> float:
        weight = torch.zeros(50)
        path = steps_taken(ShrunkAdam.over([{"params": [weight], "lr": 0.1}], 1000), weight, grads)
        return float((path[-1] - path[-200]).mean())

    assert travelled(late) == pytest.approx(travelled(noise + 0.5), rel=0.1)
    assert travelled(late) < -2


def test_goes_on_from_its_state():
    generator = torch.Generator().manual_seed(1)
    grads = torch.randn(40, 4, generator=generator)
    whole, parts = torch.zeros(4), torch.zeros(4)
    expected = steps_taken(ShrunkAdam([whole], 0.1), whole, grads)
    first = ShrunkAdam([parts], 0.1)
    steps_taken(first, parts, grads[:15])
    second = ShrunkAdam([parts], 0.1)
    second.load_state_dict(first.state_dict())
    assert torch.equal(steps_taken(second, parts, grads[15:])[-1], expected[-1])


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"lr": 0.1, "betas": (1.0, 0.9)}, {"lr": 0.1, "prior": -0.1}])
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match="lr and prior must be >= 0 and betas in"):
        ShrunkAdam([torch.zeros(1)], **wrong)
