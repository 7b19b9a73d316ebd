"""A model evaluated with some of its weights replaced: the divergence from the unchanged model, and the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from zetaplan.scoring.model.losses import shifted_logits
from zetaplan.scoring.text.sequences import IGNORED, Batch


@dataclass(frozen=True, eq=False)
class Reading:
    """Means over the labelled tokens of every sequence, nats per token.

    divergence : (N,) Kullback-Leibler divergence from the unchanged model. loss : (N,) cross-entropy.
    """

    divergence: NDArray[np.float64]
    loss: NDArray[np.float64]


class OperatingPoint:
    """Evaluations of one model on one text. The model is unchanged after each of them.

    model : in evaluation mode. data : batches of sequences, as `checked_batches` returns them.
    """

    def __init__(self, model: nn.Module, data: Sequence[Batch]) -> None:
        self.model, self.data = model, data
        self._dense = [self._log_probabilities(batch)[0] for batch in data]

    def reading(self, changes: Mapping[str, Tensor]) -> Reading:
        """The model with these parameters replaced, by name; values have the parameter's shape."""
        with replaced(self.model, changes):
            found = [self._compared(batch, dense) for batch, dense in zip(self.data, self._dense, strict=True)]
        divergences, losses = (torch.cat(parts).double().cpu().numpy() for parts in zip(*found, strict=True))
        return Reading(divergences, losses)

    def _compared(self, batch: Batch, dense: Tensor) -> tuple[Tensor, Tensor]:
        logs, labels = self._log_probabilities(batch)
        known = labels != IGNORED
        divergence = (dense.exp() * (dense - logs)).sum(-1) * known
        loss = functional.nll_loss(logs.flatten(0, 1), labels.flatten(), reduction="none", ignore_index=IGNORED)
        count = known.sum(1)
        return divergence.sum(1) / count, loss.view_as(labels).sum(1) / count

    @torch.no_grad()
    def _log_probabilities(self, batch: Batch) -> tuple[Tensor, Tensor]:
        logits, labels = shifted_logits(self.model, batch, next(self.model.parameters()).device)
        return functional.log_softmax(logits, -1), labels


@contextmanager
def replaced(model: nn.Module, changes: Mapping[str, Tensor]) -> Iterator[None]:
    """The model with parameters replaced, by name; their own values are put back at the end."""
    parameters = {name: model.get_parameter(name) for name in changes}
    own = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(changes[name].reshape(parameter.shape))
        yield
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(own[name])
