"""torch.optim.SGD as the update rule of a training: what it trains, how, and where it keeps its state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dabo_ray.bilevel.sgd import Differentiate, Sgd, SgdGroup, Tensors, copy_each


class TorchSgd:
    """The parameters of a model that an optimizer trains, and its update rule.

    Args:
        model: has the parameters.
        optimizer: torch.optim.SGD.
        clip_norm: largest norm of the gradient, see `Sgd`.
        differentiate: see `Sgd`.

    Raises:
        ValueError: another optimizer, one with dampening or maximize, or of other parameters.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, clip_norm: float | None, differentiate: Differentiate
    ) -> None:
        _check(optimizer)
        self.optimizer = optimizer
        self._clip_norm = clip_norm
        self._differentiate = differentiate
        self.parameters = [
            parameter for group in optimizer.param_groups for parameter in group["params"] if parameter.requires_grad
        ]
        """In the order of the optimizer."""
        names = {parameter: name for name, parameter in model.named_parameters()}
        if not self.parameters or any(parameter not in names for parameter in self.parameters):
            raise ValueError("the optimizer must train parameters of the model alone; make it from model.parameters()")
        self.names = [names[parameter] for parameter in self.parameters]

    def rule(self) -> Sgd:
        """As the optimizer is set now; a scheduler may have changed it."""
        groups = tuple(
            SgdGroup(
                lr=float(group["lr"]),
                momentum=group["momentum"],
                weight_decay=group["weight_decay"],
                nesterov=group["nesterov"],
                num_weights=sum(parameter.requires_grad for parameter in group["params"]),
            )
            for group in self.optimizer.param_groups
        )
        return Sgd(groups=groups, clip_norm=self._clip_norm, differentiate=self._differentiate)

    def weights(self) -> Tensors:
        """The parameters as leaves that require a gradient; nothing is copied."""
        return [parameter.detach().requires_grad_() for parameter in self.parameters]

    def velocity(self) -> Tensors:
        """The momentum buffers, made with zeros before the first step."""
        for parameter in self.parameters:
            state = self.optimizer.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)
        return [self.optimizer.state[parameter]["momentum_buffer"] for parameter in self.parameters]

    def count(self) -> None:
        """Tells schedulers of the learning rate of a step; without gradients the optimizer does nothing else."""
        self.optimizer.zero_grad()
        self.optimizer.step()


def _check(optimizer: torch.optim.Optimizer) -> None:
    if type(optimizer) is not torch.optim.SGD:
        raise ValueError(
            f"got the optimizer {type(optimizer).__name__}; give torch.optim.SGD, whose steps the hypergradient flows "
            "through"
        )
    for setting in ("dampening", "maximize"):
        if any(group[setting] for group in optimizer.param_groups):
            raise ValueError(f"the optimizer has {setting}, which is not supported; leave it out")


def assign_buffers(model: nn.Module, buffers: dict[str, Tensor]) -> None:
    """Gives a model's buffers of these names the values, in place."""
    own = dict(model.named_buffers())
    copy_each(list(own.values()), [buffers[name] for name in own])
