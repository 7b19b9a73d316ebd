"""First and second moments of the gradients of single sequences, for the matrices of all blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zetaplan.menus.bits import Weight
from zetaplan.scoring.backward.by_layer import Watch, backward_in_portions
from zetaplan.scoring.backward.way import passes_by_layer
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.model.losses import sequence_losses
from zetaplan.scoring.model.passes import Passes
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


class _Sums:
    """Sums over sequences of the gradients of one parameter."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self._mean, self._square = (torch.zeros_like(parameter, dtype=torch.float32) for _ in "12")
        self._norms: list[float] = []

    def add(self, gradient: Tensor | None, tokens: int) -> None:
        """Add the gradient of a sequence with so many labelled tokens; None: zero."""
        if gradient is None:
            self._norms.append(0.0)
            return
        square = tokens * gradient.float().square()
        self._mean += gradient
        self._square += square
        self._norms.append(float(square.sum(dtype=torch.float64)))

    def moments(self, weight: Weight) -> Moments:
        """The means over sequences in the shape of `matrices`."""
        found = (total if total.ndim == 3 else total[None] for total in (self._mean, self._square))
        mean, square = ((each.mT if weight.transposed else each) / len(self._norms) for each in found)
        return Moments(mean, square, np.array(self._norms))


def moments(model: nn.Module, data: Iterable[Batch], members: Iterable[Weight]) -> dict[str, Moments]:
    """The moments by the name of the parameter; one backward pass for every sequence. The model is not changed."""
    require_loaded(model)
    wanted = {weight.name: weight for weight in members}
    parameters = [model.get_parameter(name) for name in wanted]
    sums = [_Sums(parameter) for parameter in parameters]
    for batch in singles(data):
        for own, gradient in zip(sums, _gradient(model, batch, parameters), strict=True):
            own.add(gradient, _tokens(batch))
    return {name: own.moments(weight) for own, (name, weight) in zip(sums, wanted.items(), strict=True)}


def moments_by_layer(
    model: nn.Module, data: Iterable[Batch], members: Iterable[Weight], use: Callable[[dict[str, Moments]], None]
) -> None:
    """Call `use` with the moments of the matrices of every decoder layer, while its weights are in memory.

    All sequences pass a layer while it is in memory. Nothing is called for a model that cannot be passed by layer, or
    whose layers share weights.
    """
    rows = list(singles(data))
    passes = passes_by_layer(model, rows[0])
    if passes is None or any(twins for part in partition(model, "layers") for twins in part.shared.values()):
        return
    watch = _Watching(passes, [_tokens(row) for row in rows], {weight.name: weight for weight in members}, use)
    backward_in_portions(passes, rows, torch.ones(len(rows)), watch)


class _Watching(Watch):
    """Sums the gradients of one layer after the other. tokens : the labelled tokens of every portion, a sequence."""

    def __init__(
        self,
        passes: Passes,
        tokens: Sequence[int],
        members: Mapping[str, Weight],
        use: Callable[[dict[str, Moments]], None],
    ) -> None:
        self._layers, self._tokens, self._use = passes.layers, tokens, use
        self._weights = {passes.model.get_parameter(name): weight for name, weight in members.items()}
        self._sums: dict[nn.Parameter, _Sums] = {}

    def begin(self, place: int, portion: int, shape: tuple[int, int]) -> None:
        if portion == 0:
            self._sums = {own: _Sums(own) for own in self._layers[place].parameters() if own in self._weights}
        for parameter in self._sums:
            parameter.requires_grad_(True)

    def passed(self, place: int, portion: int) -> None:
        for parameter, sums in self._sums.items():
            sums.add(parameter.grad, self._tokens[portion])
            parameter.grad = None

    def end(self, place: int, portions: int) -> None:
        for parameter in self._sums:
            parameter.requires_grad_(False)
        own = {self._weights[parameter]: sums for parameter, sums in self._sums.items()}
        self._sums = {}
        with torch.no_grad():
            self._use({weight.name: sums.moments(weight) for weight, sums in own.items()})


def _gradient(model: nn.Module, batch: Batch, parameters: list[nn.Parameter]) -> Sequence[Tensor | None]:
    with torch.enable_grad():
        for parameter in parameters:
            parameter.requires_grad_(True)
        loss = sequence_losses(model, batch).sum()
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
    for parameter in parameters:
        parameter.requires_grad_(False)
    return found


def singles(data: Iterable[Batch]) -> Iterator[Batch]:
    """Batches of one sequence each, without its padding."""
    for batch in data:
        for place, mask in enumerate(batch["attention_mask"]):
            length = int(mask.nonzero().max()) + 1
            yield {name: value[place : place + 1, :length] for name, value in batch.items()}


def _tokens(batch: Batch) -> int:
    """The number of labelled tokens of a sequence."""
    return int((batch["labels"][:, 1:] != IGNORED).sum())
