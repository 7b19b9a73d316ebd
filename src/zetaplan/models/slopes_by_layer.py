"""The slopes of a streamed model: layer by layer, each of which is read once forwards and once backwards.

As `zetaplan.models.slopes`. All sequences pass a layer while its weights are in memory, and the steps of its moves are
computed from these weights then. In memory beside one layer are its steps, and the hidden states of all layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from zetaplan.errors import ScoringError
from zetaplan.models.operating_point import Changes, divergences, replaced
from zetaplan.models.slopes import Step, drawn_loss, draws, step_between, terms
from zetaplan.scoring.backward.by_layer import Watch, in_pieces, last_states, passed_by_layer, placed
from zetaplan.scoring.backward.way import passes_by_layer
from zetaplan.scoring.model.causal import told
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.losses import shifted_labels
from zetaplan.scoring.model.passes import Passes
from zetaplan.scoring.model.streamed import Deferred, as_stored
from zetaplan.scoring.text.sequences import IGNORED, Batch

#: The term of some tokens: of their ids, the log-probabilities of the labelled ones, what is beside, and the labelled.
Part = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class SlopesByLayer:
    """The moves from an operating point of a streamed model, all of whose values are deferred. order : 1 or 2.

    Raises ScoringError for a model that cannot be passed by layer.
    """

    #: Sequences that pass a layer while it is in memory.
    together = 16

    def __init__(self, model: nn.Module, at: Changes, moves: Iterable[Changes], order: int = 1) -> None:
        self.model, self.at, self.order, self.count = model, at, order, 0
        self._moves: dict[str, list[tuple[int, Deferred]]] = {}
        self._passes: Passes | None = None
        for number, moved in enumerate(moves):
            self.count += 1
            for name, value in moved.items():
                if value is not at.get(name) and isinstance(value, Deferred):
                    self._moves.setdefault(name, []).append((number, value))

    def of(self, rows: Sequence[Batch]) -> list[tuple[float, list[float]]]:
        """The divergence of every sequence at the operating point, and its change by each move."""
        passes = self._found(rows[0])
        rows, count = placed(passes, rows), len(rows)
        with eval_mode(self.model), told(self.model):
            reference = last_states(passes, rows)
            watch = Products(passes, self._moves, count, self.count)

            def end(number: int, hidden: Tensor) -> tuple[Tensor, Tensor]:
                again, place = divmod(number, count)
                compared = _drawn if again else _divergence
                return compared(passes, rows[place], hidden, reference[place])

            with replaced(self.model, self.at):
                found = passed_by_layer(passes, rows * self.order, end, watch)
        return list(zip(found[:count].tolist(), watch.found, strict=True))

    def _found(self, row: Batch) -> Passes:
        self._passes = self._passes or passes_by_layer(self.model, row)
        if self._passes is None:
            raise ScoringError(
                f"stream: the layers of {type(self.model).__name__} share more than hidden states, so it has no slopes "
                "layer by layer; use measured moves, or load it whole, without stream"
            )
        return self._passes


class Products(Watch):
    """The products of the gradients of every sequence with the steps of all moves. found : by sequence and move.

    After all sequences come the same ones again, if the second order is added.
    """

    def __init__(
        self, passes: Passes, moves: dict[str, list[tuple[int, Deferred]]], sequences: int, count: int
    ) -> None:
        self.passes = passes
        self.found = [[0.0] * count for _ in range(sequences)]
        self._moves = {passes.model.get_parameter(name): own for name, own in moves.items()}
        self._steps: dict[nn.Parameter, list[tuple[int, Step]]] = {}

    def begin(self, place: int, portion: int, shape: tuple[int, int]) -> None:
        if portion == 0:
            self._steps = self._steps_of(self.passes.layers[place])
        for parameter in self._steps:
            parameter.requires_grad_(True)
            parameter.grad = None

    def passed(self, place: int, portion: int) -> None:
        again, sequence = divmod(portion, len(self.found))
        row = self.found[sequence]
        for parameter, steps in self._steps.items():
            for number, change in terms(steps, parameter.grad, 1 + again):
                row[number] += change

    def end(self, place: int, portions: int) -> None:
        for parameter in self._steps:
            parameter.requires_grad_(False)
            parameter.grad = None
        self._steps = {}

    @torch.no_grad()
    def _steps_of(self, layer: nn.Module) -> dict[nn.Parameter, list[tuple[int, Step]]]:
        """The steps from the values at the operating point, which the layer has now."""
        own = [parameter for parameter in layer.parameters() if parameter in self._moves]
        now = {parameter: parameter.data for parameter in own}
        moves = [(number, parameter, value) for parameter in own for number, value in self._moves[parameter]]
        found: dict[nn.Parameter, list[tuple[int, Step]]] = {parameter: [] for parameter in own}
        with as_stored(self.passes.model, layer):  # move by move, since one may change several parameters
            for number, parameter, value in sorted(moves, key=lambda move: move[0]):
                found[parameter].append((number, step_between(now[parameter], value.compute())))
        return found


def _divergence(passes: Passes, row: Batch, hidden: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """The divergence of a sequence from its last hidden states and those of the unchanged model, and its gradient."""

    def part(ids: Tensor, logs: Tensor, other: Tensor, used: Tensor) -> Tensor:
        with torch.no_grad():
            dense = functional.log_softmax(passes.rest(ids, other)[used], -1)
        return divergences(logs, dense).sum() / known

    known = _labelled(row).sum()
    return _summed(passes, row, hidden, reference, part)


def _drawn(passes: Passes, row: Batch, hidden: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of the second order of a sequence from its last hidden states, and its gradient."""
    root = _labelled(row).sum() ** 0.5
    numbers = draws(row).to(hidden.device)
    return _summed(passes, row, hidden, numbers, lambda _, logs, own, used: drawn_loss(logs, own[used]) / root)


def _summed(passes: Passes, row: Batch, hidden: Tensor, beside: Tensor, part: Part) -> tuple[Tensor, Tensor]:
    """The sum of a term of few tokens at a time, and its gradient in the last hidden states.

    beside : (B, T, ...), of which the term gets the tokens that it is about.
    """
    total, slopes = hidden.new_zeros(1, dtype=torch.float64), list[Tensor]()
    for ids, own, other, used in in_pieces(passes, row["input_ids"], hidden, beside, _labelled(row)):
        own = own.detach().requires_grad_(True)
        with torch.enable_grad():
            term = part(ids, functional.log_softmax(passes.rest(ids, own)[used], -1), other, used)
            slopes += torch.autograd.grad(term, own)
        total += term.detach()
    return total, torch.cat(slopes, 1)


def _labelled(row: Batch) -> Tensor:
    """(B, T) the places that predict a label."""
    return shifted_labels(row["labels"]) != IGNORED
