"""Signal to noise of gradients against scipy's t-statistic."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from dabo_ray.bilevel.signal_to_noise import SignalToNoise


def module() -> nn.Module:
    return nn.ModuleDict({"spread": nn.Linear(3, 1, bias=False), "network": nn.Linear(4, 5)})


def test_is_the_t_statistic_of_each_group():
    generator = torch.Generator().manual_seed(0)
    made = module()
    evidence = SignalToNoise(made)
    series = [[torch.randn(w.shape, generator=generator).double() + 0.4 for w in made.parameters()] for _ in range(12)]
    for grads in series:
        evidence.add(grads)
    found = evidence.take()
    flat = np.stack([np.concatenate([grad.flatten().numpy() for grad in grads]) for grads in series])
    t = scipy.stats.ttest_1samp(flat, 0).statistic
    assert found == pytest.approx(
        {
            "hypergradient_snr_spread": float(np.sqrt(np.mean(t[:3] ** 2))),
            "hypergradient_snr_network": float(np.sqrt(np.mean(t[3:] ** 2))),
        }
    )


def test_about_one_for_noise():
    generator = torch.Generator().manual_seed(0)
    evidence = SignalToNoise(nn.ModuleDict({"network": nn.Linear(100, 100, bias=False)}))
    for _ in range(50):
        evidence.add([torch.randn(100, 100, generator=generator)])
    assert evidence.take()["hypergradient_snr_network"] == pytest.approx(1, abs=0.05)


def test_needs_two_and_begins_anew():
    evidence = SignalToNoise(module())
    grads = [torch.ones_like(weight) for weight in module().parameters()]
    evidence.add(grads)
    assert evidence.take() == {}
    for scale in (1.0, 2.0):
        evidence.add([scale * grad for grad in grads])
    assert evidence.take()["hypergradient_snr_spread"] == pytest.approx(3.0)
    assert evidence.take() == {}
    for _ in range(3):
        evidence.add(grads)
    assert evidence.take() == {}, "numbers that do not vary have no standard error"
