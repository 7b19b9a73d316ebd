"""Evaluation mode for measurements: no dropout, no parameter that requires a gradient, restored on exit."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from zetaplan.errors import ScoringError
from zetaplan.scoring.model.streamed import streamed


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Set evaluation mode and freeze the parameters; restore each module and parameter on exit."""
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
    """The model on a device and in a dtype, copied unless it is already there; None: unchanged."""
    if all(dtype in (None, p.dtype) and device in (None, p.device) for p in model.parameters()):
        return model
    if streamed(model):
        raise ScoringError(
            "stream: weights that are read layer by layer keep their device and dtype; give the dtype to load_model"
        )
    placed = copy.deepcopy(model).to(device)  # the caller's model is not changed
    if dtype:
        for value in placed.state_dict(keep_vars=True).values():  # no recomputed buffers (angles)
            value.data = value.data.to(dtype) if value.is_floating_point() else value.data
    return placed
