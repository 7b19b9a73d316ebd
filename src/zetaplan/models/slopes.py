"""How the divergence from the unchanged model begins to change along many moves: one backward pass for all of them.

A move replaces the values w of some parameters by v. Along w + t (v - w), a sequence's divergence has at t = 0 the
derivative g'(v - w), with g its gradient at w. What is left out is the curvature along the move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from zetaplan.models.operating_point import Changes, mean_divergence, replaced
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.losses import shifted_logits
from zetaplan.scoring.text.sequences import IGNORED, Batch

Key = TypeVar("Key")


def slopes(
    model: nn.Module, rows: Sequence[Batch], at: Changes, moves: Mapping[Key, Changes]
) -> list[tuple[float, dict[Key, float]]]:
    """For every sequence its divergence at an operating point, nats per token, and the derivative along every move.

    rows : batches of one sequence each. at, moves : the changes at the operating point, and after each move; a value
    that a move keeps is the same tensor in both. The model is unchanged afterwards.
    """
    with eval_mode(model):
        steps = {key: _step(model, at, changes) for key, changes in moves.items()}
        return [_of_sequence(model, row, at, steps) for row in rows]


def _step(model: nn.Module, at: Changes, moved: Changes) -> dict[str, Tensor]:
    """v - w by the name of the parameter, without those that the move keeps."""
    own = {name: model.get_parameter(name).data for name in {**at, **moved}}
    pairs = {name: (at.get(name, value), moved.get(name, value)) for name, value in own.items()}
    return {name: v - w for name, (w, v) in pairs.items() if w is not v}  # type: ignore[operator]


def _of_sequence(
    model: nn.Module, row: Batch, at: Changes, steps: Mapping[Key, Mapping[str, Tensor]]
) -> tuple[float, dict[Key, float]]:
    device = next(model.parameters()).device
    with torch.no_grad():
        reference = functional.log_softmax(shifted_logits(model, row, device)[0], -1)
    parameters = {name: model.get_parameter(name) for step in steps.values() for name in step}
    with replaced(model, at):
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        logits, labels = shifted_logits(model, row, device)
        known = labels != IGNORED
        divergence = mean_divergence(functional.log_softmax(logits[known], -1), reference[known])
        found = torch.autograd.grad(divergence, list(parameters.values()), allow_unused=True)
        for parameter in parameters.values():
            parameter.requires_grad_(False)
    gradients = {name: gradient for name, gradient in zip(parameters, found, strict=True) if gradient is not None}
    return float(divergence), {key: _along(step, gradients) for key, step in steps.items()}


def _along(step: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> float:
    """g'(v - w) over the parameters that the sequence used; rows are summed in float32, the rows in float64."""
    return sum(
        float((gradients[name].float() * value.float()).sum(-1).double().sum())
        for name, value in step.items()
        if name in gradients
    )
