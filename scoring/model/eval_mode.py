"""A model as it is measured: in evaluation mode, no parameter asking for a gradient; afterwards as it was."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and frozen parameters, each module and parameter put back on leaving."""
    training = [(module, module.training) for module in model.modules()]
    trainable = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, mode in training:
            module.training = mode
        for parameter, mode in trainable:
            parameter.requires_grad_(mode)


def placed(model: nn.Module, device: torch.device | None, dtype: torch.dtype | None) -> nn.Module:
    """The model on a device and of a type, in a copy unless it is so already; None: as it is."""
    if all(dtype in (None, p.dtype) and device in (None, p.device) for p in model.parameters()):
        return model
    placed = copy.deepcopy(model).to(device)  # the caller's model stays as it is
    if dtype:
        for value in placed.state_dict(keep_vars=True).values():  # not what is made anew, as the angles of positions
            value.data = value.data.to(dtype) if value.is_floating_point() else value.data
    return placed
