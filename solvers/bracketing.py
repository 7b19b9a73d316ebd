"""Bracketing for the knapsack equation of many layers: two levels around the solution decide most layers.

A layer on the same side of its box at both ends of a bracket is on that side at every level between them, so it adds
rate u + constant to the equation. A seeded sample gives a bracket a few standard errors wide. One sweep over the data
adds up the decided layers as a single layer. The remaining equation has a few percent of the layers. The sweep reads
the data in pieces that fit the cache, on all cores.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from zetaplan.solvers import compiled, knapsack
from zetaplan.solvers.knapsack import Knapsack
from zetaplan.spec.cores import cores
from zetaplan.spec.summation import CANCELS, Array

Index = slice | NDArray[np.intp]
T = TypeVar("T")

PIECE = 2**16  # layers whose weights fit the second-level cache
SPREAD = 5.0  # standard errors on either side; a miss costs one more sweep
ATTEMPTS = 3
NARROW = 1 / 16  # of a bracket; between its ends the sum is nearly linear


class Piece(NamedTuple):
    """Part of the layers of a knapsack, arrays of one length; slope = scale numerator / denominator."""

    a: Array
    numerator: Array
    denominator: Array
    scale: float
    r: Array
    lower: Array
    upper: Array

    def columns(self, rows: Index) -> tuple[Array, Array, Array, Array, Array]:
        """(a, p, r, lower, upper) of the selected layers."""
        a, numerator, denominator, r, lower, upper = (column[rows] for column in self if not isinstance(column, float))
        return a, self.scale * numerator / denominator, r, lower, upper


@dataclass(frozen=True, eq=False)
class Layers:
    """A large knapsack that is never in memory as a whole; `piece` returns the selected layers."""

    piece: Callable[[Index], Piece]
    size: int
    limit: float
    last: bool

    def rows(self, rows: Index) -> Knapsack:
        """The knapsack of the selected layers under the whole limit."""
        return Knapsack(*self.piece(rows).columns(slice(None)), self.limit, self.last)

    def plan(self, u: float) -> tuple[Array, float]:
        """The plan at level u, (size,), and what it uses, in one sweep."""
        x = np.empty(self.size)
        return x, math.fsum(self.sweep(lambda rows: compiled.fill(*self.piece(rows), u, x[rows])))

    def at(self, u: float) -> Array:
        """The plan at level u, (size,)."""
        return self.plan(u)[0]

    def use(self, u: float) -> float:
        """sum_k a_k x_k(u)."""
        first = self._use(slice(0, PIECE), u)
        return first if math.isinf(first) else math.fsum(self.sweep(lambda rows: self._use(rows, u)))

    def _use(self, rows: slice, u: float) -> float:
        piece = self.piece(rows)
        return float(compiled.fill(*piece, u, np.empty(piece.a.size)))

    def sweep(self, work: Callable[[slice], T]) -> list[T]:
        """The results of all pieces, computed on all cores; every core takes every n-th piece."""
        pieces = [slice(start, start + PIECE) for start in range(0, self.size, PIECE)]
        count = cores()
        with ThreadPoolExecutor(count) as pool:
            shares = pool.map(lambda first: [work(rows) for rows in pieces[first::count]], range(count))
            return [result for share in shares for result in share]

    def binds(self, u: float) -> bool:
        """Whether level u is proved to be beyond the solution, on the side where the limit is violated."""
        if self.bracket is None:
            return False
        return u >= self.bracket.high if self.last else u <= self.bracket.low

    @cached_property
    def bracket(self) -> Bracket | None:
        """Two levels that enclose the solution; None if none were found."""
        ends = _sampled(self)
        for _ in range(ATTEMPTS):
            rest = _rest(self, *ends) if ends else None
            if ends is None or rest is None:
                break
            low, high = ends
            if _encloses(rest, low, high):
                return _narrowed(Bracket(low, high, rest))
            far = 8.0 * (high - low)
            ends = (high, high + far) if rest.use(high) <= rest.limit else (low - far, low)
        return None


class Bracket(NamedTuple):
    """Two levels around the solution, and the layers that they leave undecided with one layer for all others."""

    low: float
    high: float
    rest: Knapsack


def _encloses(knapsack: Knapsack, low: float, high: float) -> bool:
    return knapsack.use(low) < knapsack.limit < knapsack.use(high)


def _narrowed(bracket: Bracket) -> Bracket:
    """An eighth of the bracket, around its secant, if that encloses the solution: few layers stay undecided."""
    low, high, rest = bracket
    below, above = (rest.use(u) - rest.limit for u in (low, high))
    if not math.isfinite(above - below):
        return bracket
    middle, width = low - below * (high - low) / (above - below), NARROW * (high - low)
    ones, offset = np.ones_like(rest.a), np.broadcast_to(rest.r, rest.a.shape)

    def piece(rows: Index) -> Piece:
        a, p, one, r, lower, upper = (c[rows] for c in (rest.a, rest.p, ones, offset, rest.lower, rest.upper))
        return Piece(a, p, one, 1.0, r, lower, upper)

    layers = Layers(piece, rest.a.size, rest.limit, rest.last)
    fewer = _rest(layers, middle - width, middle + width)
    if fewer is None or not _encloses(fewer, middle - width, middle + width):
        return bracket
    return Bracket(middle - width, middle + width, fewer)


def solve(layers: Layers) -> float:
    """The level u that solves the equation. A solution must exist."""
    if layers.bracket is None:
        return knapsack.solve(layers.rows(slice(None)))
    low, high, rest = layers.bracket
    return knapsack.solve(rest, start=0.5 * (low + high))


def _sampled(layers: Layers) -> tuple[float, float] | None:
    """(low, high) levels that enclose the solution with high probability; None if the sample has no solution."""
    size = round(layers.size**0.63)  # balances the work of the sample and of the layers in doubt
    drawn = np.sort(np.random.default_rng(0).integers(layers.size, size=size))
    sample = layers.rows(drawn)._replace(limit=layers.limit * (size / layers.size))
    if not sample.use(-np.inf) < sample.limit < sample.use(np.inf):
        return None
    u = knapsack.solve(sample)
    x = sample.at(u)
    rate = float((sample.a * sample.p)[(x > sample.lower) & (x < sample.upper)].sum())
    if rate == 0.0:
        return None
    error = SPREAD * math.sqrt(size) * float(np.std(sample.a * x)) / rate + 1e-9 * abs(u)
    return u - error, u + error


class _Tally(NamedTuple):
    """The sum of a piece between two levels, rate u + fixed, its volume and the layers in doubt."""

    rate: float
    fixed: float
    volume: float
    doubtful: tuple[Array, ...]


def _tally(piece: Piece, low: float, high: float) -> _Tally:
    doubtful = np.empty(piece.a.size, dtype=np.bool_)
    rate, fixed, volume = compiled.tally(*piece, low, high, doubtful)
    return _Tally(rate, fixed, volume, piece.columns(np.flatnonzero(doubtful)))


def _rest(layers: Layers, low: float, high: float) -> Knapsack | None:
    """The layers in doubt and one layer for all others; None if adding up the others would lose digits."""
    tallies = layers.sweep(lambda rows: _tally(layers.piece(rows), low, high))
    rate, fixed, volume = (math.fsum(column) for column in zip(*(tally[:3] for tally in tallies), strict=True))
    if rate * max(abs(low), abs(high)) < CANCELS * (volume + abs(layers.limit)):
        return None
    others = (1.0, rate, 0.0, rate * low, rate * high)
    doubtful = zip(*(tally.doubtful for tally in tallies), strict=True)
    a, p, r, lower, upper = (np.append(np.concatenate(c), other) for c, other in zip(doubtful, others, strict=True))
    return Knapsack(a, p, r, lower, upper, layers.limit - fixed, layers.last)
