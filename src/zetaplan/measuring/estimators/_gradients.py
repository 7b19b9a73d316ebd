"""First and second moments of the gradients of single sequences, for the matrices of all blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zetaplan.menus.bits import Weight
from zetaplan.scoring.model.losses import sequence_losses
from zetaplan.scoring.model.streamed import require_loaded
from zetaplan.scoring.text.sequences import IGNORED, Batch


@dataclass(frozen=True, eq=False)
class Moments:
    """Over N sequences, g being the gradient of a sequence's mean loss: mean = E g, square = E[T g^2], T its tokens.

    The gradients of single tokens are nearly uncorrelated, so E[T g^2] estimates the mean square of a token's gradient.
    norms : (N,) T |g|^2 of every sequence. All have the shape of `matrices`.
    """

    mean: Tensor
    square: Tensor
    norms: NDArray[np.float64]


def moments(model: nn.Module, data: Iterable[Batch], members: Iterable[Weight]) -> dict[str, Moments]:
    """The moments by the name of the parameter; one backward pass for every sequence. The model is not changed."""
    require_loaded(model)
    wanted = {weight.name: weight for weight in members}
    parameters = {name: model.get_parameter(name) for name in wanted}
    means, squares = ({name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()} for _ in "12")
    norms: dict[str, list[float]] = {name: [] for name in parameters}
    for batch in singles(data):
        tokens = int((batch["labels"][:, 1:] != IGNORED).sum())
        for name, gradient in zip(parameters, _gradient(model, batch, list(parameters.values())), strict=True):
            square = tokens * gradient.float().square()
            means[name] += gradient
            squares[name] += square
            norms[name].append(float(square.sum(dtype=torch.float64)))
    return {
        name: Moments(_mean(means[name], weight, norms), _mean(squares[name], weight, norms), np.array(norms[name]))
        for name, weight in wanted.items()
    }


def _gradient(model: nn.Module, batch: Batch, parameters: list[nn.Parameter]) -> Sequence[Tensor]:
    with torch.enable_grad():
        for parameter in parameters:
            parameter.requires_grad_(True)
        loss = sequence_losses(model, batch).sum()
        found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    for parameter in parameters:
        parameter.requires_grad_(False)
    return found


def singles(data: Iterable[Batch]) -> Iterator[Batch]:
    """Batches of one sequence each, without its padding."""
    for batch in data:
        for place, mask in enumerate(batch["attention_mask"]):
            length = int(mask.nonzero().max()) + 1
            yield {name: value[place : place + 1, :length] for name, value in batch.items()}


def _mean(total: Tensor, weight: Weight, norms: Mapping[str, list[float]]) -> Tensor:
    """The mean over sequences in the shape of `matrices`."""
    value = (total if total.ndim == 3 else total[None]) / len(norms[weight.name])
    return value.mT if weight.transposed else value
