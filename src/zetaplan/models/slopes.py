"""How the divergence from the unchanged model begins to change along many moves: one backward pass for all of them.

A move replaces the values w of some parameters by v. Along w + t (v - w), a sequence's divergence has at t = 0 the
derivative g'(v - w), with g its gradient at w. What is left out is the curvature along the move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from zetaplan.models.operating_point import Changes, mean_divergence, replaced
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.losses import shifted_logits
from zetaplan.scoring.text.sequences import IGNORED, Batch

Key = TypeVar("Key")


class Slopes(Generic[Key]):
    """The moves from an operating point. The model is unchanged after every sequence.

    at, moves : the changes at the operating point, and after each move; a value that a move keeps is the same tensor in
    both.
    """

    def __init__(self, model: nn.Module, at: Changes, moves: Mapping[Key, Changes]) -> None:
        self.model, self.at, self.moves = model, at, tuple(moves)
        found: dict[str, tuple[list[Key], list[Tensor]]] = {}
        for key, moved in moves.items():
            for name, step in _step(model, at, moved).items():
                keys, steps = found.setdefault(name, ([], []))
                keys.append(key)
                steps.append(step)
        self._steps = {name: (keys, torch.stack(steps)) for name, (keys, steps) in found.items()}

    def of(self, row: Batch) -> tuple[float, dict[Key, float]]:
        """The divergence of one sequence at the operating point, nats per token, and its derivative along each move."""
        divergence, gradients = self._gradients(row)
        found = dict.fromkeys(self.moves, 0.0)
        for (keys, steps), gradient in zip(self._steps.values(), gradients, strict=True):
            if gradient is not None:  # None for one that the sequence did not use, such as that of an expert
                for key, along in zip(keys, (steps @ gradient.flatten().float()).tolist(), strict=True):
                    found[key] += along
        return divergence, found

    def _gradients(self, row: Batch) -> tuple[float, Sequence[Tensor | None]]:
        device = next(self.model.parameters()).device
        with eval_mode(self.model):
            with torch.no_grad():
                reference = functional.log_softmax(shifted_logits(self.model, row, device)[0], -1)
            with replaced(self.model, self.at):
                parameters = [self.model.get_parameter(name).requires_grad_(True) for name in self._steps]
                logits, labels = shifted_logits(self.model, row, device)
                known = labels != IGNORED
                divergence = mean_divergence(functional.log_softmax(logits[known], -1), reference[known])
                gradients = torch.autograd.grad(divergence, parameters, allow_unused=True) if parameters else ()
        return divergence.item(), gradients


def _step(model: nn.Module, at: Changes, moved: Changes) -> dict[str, Tensor]:
    """v - w by the name of the parameter, flat and float32, without those that the move keeps."""
    own = {name: model.get_parameter(name).data for name in {**at, **moved}}
    pairs = {name: (at.get(name, value), moved.get(name, value)) for name, value in own.items()}
    return {name: (v - w).flatten().float() for name, (w, v) in pairs.items() if w is not v}  # type: ignore[operator]
