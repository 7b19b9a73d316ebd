"""First and second moments of the gradients of single sequences, for the matrices of all blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from zetaplan.menus.bits import Weight
from zetaplan.scoring.backward.by_layer import Watch, backward_in_portions
from zetaplan.scoring.backward.way import passes_by_layer
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.model.causal import told
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


def moments(model: nn.Module, data: Iterable[Batch], members: Iterable[Weight]) -> dict[str, Moments]:
    """The moments by the name of the parameter; one backward pass for every sequence. The model is not changed."""
    require_loaded(model)
    wanted = {weight.name: weight for weight in members}
    parameters = {name: model.get_parameter(name) for name in wanted}
    means, squares = ({name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()} for _ in "12")
    norms: dict[str, list[float]] = {name: [] for name in parameters}
    for batch in singles(data):
        tokens = _tokens(batch)
        for name, gradient in zip(parameters, _gradient(model, batch, list(parameters.values())), strict=True):
            square = tokens * gradient.float().square()
            means[name] += gradient
            squares[name] += square
            norms[name].append(float(square.sum(dtype=torch.float64)))
    return {
        name: Moments(_mean(means[name], weight, len(own)), _mean(squares[name], weight, len(own)), np.array(own))
        for (name, weight), own in zip(wanted.items(), norms.values(), strict=True)
    }


def squares_by_layer(
    model: nn.Module,
    data: Iterable[Batch],
    members: Iterable[Weight],
    use: Callable[[dict[str, Tensor]], None],
    progress: bool = False,
) -> None:
    """Call `use` with the squares of `Moments` of every decoder layer, by name, while its weights are in memory.

    All sequences pass a layer while it is in memory. Nothing is called for a model that cannot be passed by layer, or
    whose layers share weights.
    """
    rows = list(singles(data))
    passes = passes_by_layer(model, rows[0])
    if passes is None or any(twins for part in partition(model, "layers") for twins in part.shared.values()):
        return
    with tqdm(total=len(passes.layers), desc="fisher", unit="layer", disable=not progress) as bar:
        backward_in_portions(passes, rows, torch.ones(len(rows)), _Squares(passes, rows, members, use, bar))


class _Squares(Watch):
    """The squares of one layer after the other, from portions of one sequence each."""

    def __init__(
        self,
        passes: Passes,
        rows: Sequence[Batch],
        members: Iterable[Weight],
        use: Callable[[dict[str, Tensor]], None],
        bar: tqdm[Any],
    ) -> None:
        self._layers, self._tokens, self._use = passes.layers, [_tokens(row) for row in rows], use
        self._bar, self.progress = bar, not bar.disable
        self._weights = {passes.model.get_parameter(weight.name): weight for weight in members}
        self._sums: dict[nn.Parameter, Tensor] = {}

    def begin(self, place: int, portion: int, shape: tuple[int, int]) -> None:
        if portion == 0:
            own = (parameter for parameter in self._layers[place].parameters() if parameter in self._weights)
            self._sums = {parameter: torch.zeros_like(parameter, dtype=torch.float32) for parameter in own}
        for parameter in self._sums:
            parameter.requires_grad_(True)

    def passed(self, place: int, portion: int) -> None:
        for parameter, total in self._sums.items():
            if parameter.grad is not None:  # None for one that the sequence did not use, such as that of an expert
                total += self._tokens[portion] * parameter.grad.float().square()
                parameter.grad = None

    def end(self, place: int, portions: int) -> None:
        for parameter in self._sums:
            parameter.requires_grad_(False)
        sums, self._sums = self._sums, {}
        own = [(self._weights[parameter], total) for parameter, total in sums.items()]
        with torch.no_grad():
            self._use({weight.name: _mean(total, weight, portions) for weight, total in own})
        self._bar.update()


def _gradient(model: nn.Module, batch: Batch, parameters: list[nn.Parameter]) -> Sequence[Tensor]:
    with torch.enable_grad(), told(model):
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


def _tokens(batch: Batch) -> int:
    """The number of labelled tokens of a sequence."""
    return int((batch["labels"][:, 1:] != IGNORED).sum())


def _mean(total: Tensor, weight: Weight, sequences: int) -> Tensor:
    """The mean over sequences in the shape of `matrices`, in the memory of the sum."""
    value = (total if total.ndim == 3 else total[None]).div_(sequences)
    return value.mT if weight.transposed else value
