"""The input statistic of every matrix. An expert that few tokens reached gets that of all experts of its stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from zetaplan.menus.bits import Weight
from zetaplan.models.layer_pass import Observed
from zetaplan.models.matrices import Matrix

#: Tokens from which |X_j| of an expert is known to about one part in eight: sqrt(1 / (2 FEW)) for normal inputs.
FEW = 32


@dataclass(frozen=True, eq=False)
class Statistic:
    """The input statistic of a matrix; None if no input of it, nor of another expert of its stack, was observed.

    rows : how many inputs the matrix itself received. pooled : whether it is that of all experts of the stack together.
    """

    value: Tensor | None
    rows: int = 0
    pooled: bool = False


def statistic_of(matrix: Matrix, observed: Observed) -> Statistic:
    """The statistic of a matrix. An expert that fewer than `FEW` tokens reached gets that of all experts together."""
    return _statistics(observed, matrix.stack.name, [matrix.place])[0]


def statistics_of(weight: Weight, observed: Observed) -> tuple[Statistic, ...]:
    """The statistics of all matrices of a weight; those of a linear may have the name of its module."""
    name = weight.name if weight.name in observed else weight.module
    return _statistics(observed, name, range(weight.count))


def pooled_names(statistics: Mapping[str, Sequence[Statistic]]) -> list[str]:
    """The experts that few tokens reached, with their numbers of tokens, by the name of the weight."""
    return [
        f"{f'{name}[{place}]'!r} ({seen.rows})"
        for name, own in statistics.items()
        for place, seen in enumerate(own)
        if seen.pooled
    ]


def _statistics(observed: Observed, name: str, places: Sequence[int]) -> tuple[Statistic, ...]:
    if name not in observed:
        return (Statistic(None),) * len(places)
    seen, rows = observed[name], observed.rows[name]
    if not rows.ndim:
        return (Statistic(seen, int(rows)),)
    few = [int(rows[place]) < FEW for place in places]
    together = seen.sum(0) if any(few) else seen
    found = zip(places, few, strict=True)
    return tuple(Statistic(together if pooled else seen[place], int(rows[place]), pooled) for place, pooled in found)
