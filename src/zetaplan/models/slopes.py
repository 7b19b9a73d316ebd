"""How the divergence from the unchanged model begins to change along many moves: one backward pass for all of them.

A move replaces the values w of some parameters by v. Along w + t (v - w), a sequence's divergence has at t = 0 the
derivative g'(v - w), with g its gradient at w. What is left out is the curvature along the move.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from zetaplan.models.operating_point import Changes, mean_divergence, replaced
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.losses import shifted_logits
from zetaplan.scoring.text.sequences import IGNORED, Batch

#: A step of fewer entries than this share is kept as its entries and their places, 8 bytes each instead of 4.
SPARSE = 0.5


class Slopes:
    """The moves from an operating point. The model is unchanged after every sequence.

    at, moves : the changes at the operating point, and after each move; a value that a move keeps is the same tensor in
    both. Moves are drawn one by one, and only their steps are kept.
    """

    #: Sequences that pass together.
    together = 1

    def __init__(self, model: nn.Module, at: Changes, moves: Iterable[Changes]) -> None:
        self.model, self.at, self.count = model, at, 0
        self._steps: dict[str, list[tuple[int, Step]]] = {}
        for number, moved in enumerate(moves):
            self.count += 1
            for name, step in _steps(model, at, moved):
                self._steps.setdefault(name, []).append((number, step))

    def of(self, rows: Sequence[Batch]) -> list[tuple[float, list[float]]]:
        """Of every sequence the divergence at the operating point, nats per token, and its slopes along the moves."""
        return [self._of_sequence(row) for row in rows]

    def _of_sequence(self, row: Batch) -> tuple[float, list[float]]:
        divergence, gradients = self._gradients(row)
        found = [0.0] * self.count
        for steps, gradient in zip(self._steps.values(), gradients, strict=True):
            if gradient is not None:  # None for one that the sequence did not use, such as that of an expert
                flat = gradient.flatten().float()
                for number, step in steps:
                    found[number] += step.along(flat)
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


@dataclass(frozen=True, eq=False)
class Step:
    """v - w of a parameter, float32. places : of its entries in the flat parameter; None if it has all of them."""

    entries: Tensor
    places: Tensor | None

    def along(self, gradient: Tensor) -> float:
        """The product with a flat gradient, float32."""
        used = gradient if self.places is None else gradient.index_select(0, self.places)
        return float(self.entries @ used)


def _steps(model: nn.Module, at: Changes, moved: Changes) -> Iterator[tuple[str, Step]]:
    """The steps of a move by the name of the parameter, without those that the move keeps."""
    for name in {**at, **moved}:
        own = model.get_parameter(name).data
        w, v = at.get(name, own), moved.get(name, own)
        if v is not w:
            yield name, step_between(w, v)  # type: ignore[arg-type]


def step_between(w: Tensor, v: Tensor) -> Step:
    """The step from the values w of a parameter to the values v."""
    dense = v.flatten().float() - w.flatten().float()
    places = dense.nonzero()[:, 0]
    if len(places) >= SPARSE * len(dense):
        return Step(dense, None)
    small = len(dense) <= torch.iinfo(torch.int32).max
    return Step(dense[places], places.int() if small else places)
