"""A model evaluated with some of its weights replaced: the divergence from the unchanged model, and the loss.

The results of the decoder layers are kept for one set of changes, the operating point. Another set is evaluated from
the first layer on where the two differ, so that a change of layer k of K costs (K - k)/K of a pass. The values of a
streamed model may be deferred: they are computed when their layer is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.passes import Passes
from zetaplan.scoring.model.streamed import Deferred, deferring
from zetaplan.scoring.text.sequences import IGNORED, Batch

#: Largest number of log-probabilities of the unchanged model that are kept, 4 bytes each; more are computed when used.
KEPT = 2**27

#: Values by the name of their parameter; None under the name of a decoder layer leaves the layer out.
Changes = Mapping[str, Tensor | Deferred | None]


@dataclass(frozen=True, eq=False)
class Reading:
    """Means over the labelled tokens of every sequence, nats per token.

    divergence : (N,) Kullback-Leibler divergence from the unchanged model. loss : (N,) cross-entropy.
    """

    divergence: NDArray[np.float64]
    loss: NDArray[np.float64]


class OperatingPoint:
    """Evaluations of one model on one text. The model is unchanged after each of them.

    model : a decoder-only transformers model. data : batches of sequences, as `checked_batches` returns them.
    resume : keep the results of all layers at the operating point, which is the unchanged model until `settle`. Without
    them, or for a model that cannot be resumed at a layer, every evaluation is a whole pass.
    """

    def __init__(self, model: nn.Module, data: Sequence[Batch], *, resume: bool = True) -> None:
        self.model, self.data = model, data
        with eval_mode(model):
            self._passes = Passes(model, data[0])
            self._resume = resume and self._passes.resumable
            self._at: Changes = {}
            self._results: list[list[Any]] = [[] for _ in data]
            self._dense = [self._reference(number) for number in range(len(data))]

    def settle(self, changes: Changes) -> Reading:
        """Make these changes the operating point. Returns its reading."""
        return self._read(changes, settle=True)

    def reading(self, changes: Changes) -> Reading:
        """The model with these parameters replaced; values have the parameter's shape."""
        return self._read(changes, settle=False)

    def _read(self, changes: Changes, settle: bool) -> Reading:
        start, found = self._first_difference(changes), []
        with eval_mode(self.model):
            for number, batch in enumerate(self.data):
                kept: list[Any] = []
                dense = self._log_probabilities(number)
                with replaced(self.model, changes):
                    known = dict(enumerate(self._results[number][:start]))
                    logits, labels = self._passes.logits(batch, known, left_out(changes), kept)
                found.append(_compared(logits, dense, labels))
                if settle and self._resume:
                    self._results[number] = kept
        if settle:
            self._at = dict(changes)
        divergence, loss = torch.cat(found, 1).cpu().numpy()
        return Reading(divergence, loss)

    def _first_difference(self, changes: Changes) -> int:
        """The first call of a layer that depends on a value which is not that of the operating point."""
        names = {name for name in (*changes, *self._at) if changes.get(name, False) is not self._at.get(name, False)}
        return min((self._passes.first_use(name) for name in names), default=len(self._passes.calls))

    def _reference(self, number: int) -> Tensor | dict[int, Any]:
        """What determines the unchanged model's log-probabilities: themselves if few, or the last layer's result."""
        kept: list[Any] = []
        logits, _ = self._passes.logits(self.data[number], kept=kept)
        if self._resume:
            self._results[number] = kept
        if sum(batch["labels"].numel() for batch in self.data) * logits.shape[-1] <= KEPT:
            return functional.log_softmax(logits, -1)
        return dict.fromkeys(range(len(kept)), kept[-1]) if self._passes.resumable else {}

    def _log_probabilities(self, number: int) -> Tensor:
        """(B, T, V) of the unchanged model."""
        dense = self._dense[number]
        if isinstance(dense, Tensor):
            return dense
        return functional.log_softmax(self._passes.logits(self.data[number], dense)[0], -1)


def left_out(changes: Changes) -> set[str]:
    """The names of the decoder layers that the changes leave out."""
    return {name for name, value in changes.items() if value is None}


def _compared(logits: Tensor, dense: Tensor, labels: Tensor) -> Tensor:
    """(2, B): divergence and loss, sequence by sequence because the logits are by far the largest tensors."""
    return torch.tensor([_of_sequence(*row) for row in zip(logits, dense, labels, strict=True)]).double().T


def _of_sequence(logits: Tensor, dense: Tensor, labels: Tensor) -> tuple[float, float]:
    known = labels != IGNORED
    logs, reference = functional.log_softmax(logits[known], -1), dense[known]
    return float(mean_divergence(logs, reference)), float(functional.nll_loss(logs, labels[known]).double())


def mean_divergence(logs: Tensor, reference: Tensor) -> Tensor:
    """The divergence of log-probabilities (T, V) from the reference, the mean over the tokens."""
    return divergences(logs, reference).mean()


def divergences(logs: Tensor, reference: Tensor) -> Tensor:
    """(T,) the divergence of log-probabilities (T, V) from the reference, float64."""
    return (reference.exp() * (reference - logs)).sum(-1).double()


@contextmanager
def replaced(model: nn.Module, changes: Changes) -> Iterator[None]:
    """The model with parameters replaced, by name; their own values are put back at the end."""
    values = {name: value for name, value in changes.items() if isinstance(value, Tensor)}
    parameters = {name: model.get_parameter(name) for name in values}
    own = {name: parameter.data for name, parameter in parameters.items()}
    later = {name: value for name, value in changes.items() if isinstance(value, Deferred)}
    try:
        for name, parameter in parameters.items():  # the tensors themselves: copies would take longer than small passes
            parameter.data = values[name].detach().reshape(parameter.shape).to(parameter)
        with deferring(model, later):
            yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = own[name]
