"""How the divergence from the unchanged model changes along many moves, from the derivatives at one point.

A move replaces the values w of some parameters by v. Along w + t (v - w), a sequence's divergence has at t = 0 the
derivative g'(v - w), with g its gradient at w. The second order adds (v - w)' F (v - w) / 2, with the diagonal of the
Fisher matrix F at w: the squared gradient of the loss of labels that the model itself draws there, since the gradients
of single tokens are uncorrelated then. Without it, the curvature along the move is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from zetaplan.models.operating_point import Changes, mean_divergence, replaced
from zetaplan.scoring.model.causal import told
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.losses import shifted_logits
from zetaplan.scoring.text.sequences import IGNORED, Batch, digest

#: Of parameters; None for one that a sequence did not use.
Gradients = Sequence[Tensor | None]


class Slopes:
    """The moves from an operating point. The model is unchanged after every sequence.

    at, moves : the changes at the operating point, and after each move; a value that a move keeps is the same tensor in
    both. Moves are drawn one by one, and only their steps are kept. order : 1, or 2 with the curvature.
    """

    #: Sequences that pass together.
    together = 1

    def __init__(self, model: nn.Module, at: Changes, moves: Iterable[Changes], order: int = 1) -> None:
        self.model, self.at, self.order, self.count = model, at, order, 0
        self._steps: dict[str, list[tuple[int, Step]]] = {}
        for number, moved in enumerate(moves):
            self.count += 1
            for name, step in _steps(model, at, moved):
                self._steps.setdefault(name, []).append((number, step))

    def of(self, rows: Sequence[Batch]) -> list[tuple[float, list[float]]]:
        """Of every sequence the divergence at the operating point, nats per token, and its change by every move."""
        return [self._of_sequence(row) for row in rows]

    def _of_sequence(self, row: Batch) -> tuple[float, list[float]]:
        divergence, derivatives = self._derivatives(row)
        found = [0.0] * self.count
        for order, gradients in enumerate(derivatives, 1):
            for steps, gradient in zip(self._steps.values(), gradients, strict=True):
                for number, change in terms(steps, gradient, order):
                    found[number] += change
        return divergence, found

    def _derivatives(self, row: Batch) -> tuple[float, list[Gradients]]:
        """The divergence; its gradients, and with the second order those of `drawn_loss`."""
        device = next(self.model.parameters()).device
        with eval_mode(self.model), told(self.model):
            with torch.no_grad():
                reference = functional.log_softmax(shifted_logits(self.model, row, device)[0], -1)
            with replaced(self.model, self.at):
                parameters = [self.model.get_parameter(name).requires_grad_(True) for name in self._steps]
                logits, labels = shifted_logits(self.model, row, device)
                known = labels != IGNORED
                logs = functional.log_softmax(logits[known], -1)
                divergence = mean_divergence(logs, reference[known])
                losses = [divergence]
                if self.order > 1:
                    losses.append(drawn_loss(logs, draws(row).to(device)[known]) / len(logs) ** 0.5)
                gradients: list[Gradients] = [
                    torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=loss is not losses[-1])
                    if parameters
                    else ()
                    for loss in losses
                ]
        return divergence.item(), gradients


def draws(row: Batch) -> Tensor:
    """Numbers in [0, 1) for the tokens (B, T) of a text, float32, by which `drawn_loss` draws: always the same."""
    seed = int.from_bytes(bytes.fromhex(digest([row]))[:8])
    return torch.rand(row["labels"].shape, generator=torch.Generator().manual_seed(seed))


def drawn_loss(logs: Tensor, numbers: Tensor) -> Tensor:
    """The sum of the losses of labels that are drawn from log-probabilities (T, V), by numbers (T,) in [0, 1)."""
    below = logs.detach().exp().cumsum(-1) < numbers[:, None]
    labels = below.sum(-1).clamp(max=logs.shape[-1] - 1)  # the sum of all may be less than one by rounding
    return functional.nll_loss(logs, labels, reduction="sum")


@dataclass(frozen=True, eq=False)
class Step:
    """v - w of a parameter. places : of its entries in the flat parameter; None if it has all of them.

    entries : float32, or of a smaller type if the parameter is.
    """

    entries: Tensor
    places: Tensor | None

    def along(self, gradient: Tensor, order: int = 1) -> float:
        """The sum over the entries s of s g, or of s^2 g. gradient : flat, float32."""
        used = gradient if self.places is None else gradient.index_select(0, self.places)
        entries = self.entries.float()
        return float(entries @ (used if order == 1 else used * entries))


def terms(steps: Sequence[tuple[int, Step]], gradient: Tensor | None, order: int) -> Iterator[tuple[int, float]]:
    """The term of this order in the change by every move of one parameter. gradient : of the loss of this order."""
    if gradient is None:  # of a parameter that the sequence did not use, such as that of an expert
        return
    flat = gradient.flatten().float()
    derivative = flat if order == 1 else flat.square() / 2
    for number, step in steps:
        yield number, step.along(derivative, order)


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
    dense = dense.to(w.dtype) if w.element_size() < dense.element_size() else dense
    places = dense.nonzero()[:, 0]
    places = places.int() if len(dense) <= torch.iinfo(torch.int32).max else places
    if len(places) * (dense.element_size() + places.element_size()) >= dense.nbytes:
        return Step(dense, None)
    return Step(dense[places], places)
