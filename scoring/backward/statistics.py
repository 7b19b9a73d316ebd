"""Statistics of the per-sequence gradients G (N x d) of a block, accumulated in one pass.

A statistic receives the modules of its block one by one, in any order, and stores none of their gradients. The
gradients themselves (N times the size of the model) never exist at once. The halves are the sequences of even and of
odd index.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from zetaplan.scoring.backward.per_sequence import Pairs, per_sequence_gradients, sequences_of

#: The sequences of each half, as slices of the rows of G.
HALVES = (slice(0, None, 2), slice(1, None, 2))


class Statistic(ABC):
    """A function of G, for N sequences.

    Attributes:
        drawn: whether G has N further rows, the gradients at labels drawn from the model (see `sampling`).
        numbers: how many numbers it stores per parameter.
    """

    drawn: ClassVar[bool] = False
    numbers: ClassVar[int] = 0

    @abstractmethod
    def __init__(self, sequences: int) -> None: ...

    @property
    @abstractmethod
    def gradient_norm(self) -> float:
        """|g|, where g = G' 1 / N is the gradient of the mean loss."""


class Columnwise(Statistic):
    """A sum over the columns of G, which are added in chunks and in any order of the parameters."""

    @abstractmethod
    def add(self, gradients: Tensor) -> None:
        """Add the gradients (N, p) of p further parameters, float32 or float64."""


class Modulewise(Statistic):
    """A statistic that needs the full inputs and output gradients of each module."""

    @abstractmethod
    def add_module(self, name: str, module: nn.Module, pairs: Pairs, places: Sequence[Tensor]) -> None:
        """Add one further module: its pairs (x, d) of all N sequences, and the places (B, T) that count in the loss."""


class Gram(Columnwise):
    """G G', shape (N, N): each product in the precision of G, their sum in float64."""

    def __init__(self, sequences: int) -> None:
        self.parameters = 0
        self.products = torch.zeros(sequences, sequences, dtype=torch.float64)

    def add(self, gradients: Tensor) -> None:
        self.parameters += gradients.shape[1]
        self.products += (gradients @ gradients.mT).cpu().double()

    @property
    def gradient_norm(self) -> float:
        return float(self.products.sum().clamp(min=0).sqrt() / len(self.products))


class SampledGram(Gram):
    """The products of 2N rows: the sequences at their own labels, then at labels drawn from the model."""

    drawn = True

    def __init__(self, sequences: int) -> None:
        super().__init__(2 * sequences)

    @property
    def gradient_norm(self) -> float:
        n = len(self.products) // 2
        return float(self.products[:n, :n].sum().clamp(min=0).sqrt() / n)


class Moments(Columnwise):
    """Mean and mean square of every column over each half: four numbers per parameter, stored on the CPU."""

    numbers = 4

    def __init__(self, sequences: int) -> None:
        self.sequences = sequences
        self.halves = [len(range(sequences)[half]) for half in HALVES]
        self.chunks: list[tuple[Tensor, Tensor]] = []  # means and mean squares, (2, p) each

    def add(self, gradients: Tensor) -> None:
        means = torch.stack([gradients[half].mean(0) for half in HALVES])
        squares = torch.stack([gradients[half].square().mean(0) for half in HALVES])
        self.chunks.append((means.cpu(), squares.cpu()))

    def over_all(self) -> Iterable[tuple[Tensor, Tensor]]:
        """g_j and F_jj over all sequences, chunk by chunk, (p,) each."""
        for means, squares in self.chunks:
            shares = torch.tensor(self.halves, dtype=means.dtype) / self.sequences
            yield shares @ means, shares @ squares

    @property
    def gradient_norm(self) -> float:
        return math.sqrt(sum(float(mean.double().square().sum()) for mean, _ in self.over_all()))


def take_in(
    statistics: Iterable[Statistic], places: Sequence[Tensor], name: str, module: nn.Module, pairs: Pairs
) -> None:
    """Add a module to every statistic of its block. Its gradients are computed once for all statistics that need them.

    Args:
        statistics: the statistics of one block.
        places: of each batch at the sequences' own labels, the tokens (B, T) that its loss can depend on; pairs at
            drawn labels follow after those.
        name: name of the module.
        module: the module.
        pairs: (x, d) of every batch.
    """
    own = pairs[: len(places)]
    rows = sum(map(sequences_of, own))
    columnwise = []
    for statistic in statistics:
        if isinstance(statistic, Modulewise):
            statistic.add_module(name, module, own, places)
        elif isinstance(statistic, Columnwise):
            columnwise.append(statistic)
    if not columnwise:
        return
    drawn = any(statistic.drawn for statistic in columnwise)
    for gradients in per_sequence_gradients(module, pairs if drawn else own):
        for statistic in columnwise:
            statistic.add(gradients if statistic.drawn else gradients[:rows])


def take_in_by_expert(
    experts: Sequence[Sequence[Statistic]], places: Sequence[Tensor], module: nn.Module, pairs: Pairs
) -> None:
    """Add the part of a module that belongs to every expert to the statistics of that expert's block."""
    own = pairs[: len(places)]
    rows = sum(map(sequences_of, own))
    drawn = any(statistic.drawn for statistics in experts for statistic in statistics)
    for gradients in per_sequence_gradients(module, pairs if drawn else own):  # one parameter after the other
        for part, statistics in zip(gradients.chunk(len(experts), dim=1), experts, strict=True):
            for statistic in statistics:
                if isinstance(statistic, Columnwise):
                    statistic.add(part if statistic.drawn else part[:rows])
