"""The choice program: one option per block (method 10). Its data are doubles, so its optimum is provable in fractions.

    minimise    sum_k  w_kj(k)
    subject to  sum_k  c_kj(k),m  <=  B_m     for every budget m
                j(k) in J_k                   one option for every block k

It is not a separable convex program: the decision is an index. For every multiplier lambda >= 0 (one per budget)

    D(lambda) = sum_k min_j (w_kj + lambda . c_kj) - lambda . B   <=   every feasible objective.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from zetaplan._display import Columns, Display

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

EPSILON = float(np.finfo(np.float64).eps)

LATEX = (
    r"\begin{aligned}\text{minimise}\quad & \sum_k w_{k,j(k)} \\"
    r"\text{subject to}\quad & \sum_k c_{k,j(k),m} \le B_m \quad \text{for every budget } m \\"
    r"& j(k) \in J_k \quad \text{for every block } k\end{aligned}"
)


def integers(values: Array) -> tuple[list[int], int]:
    """The doubles, flat, as whole numbers in the unit 2**-bits, and bits >= 0: the least that holds all of them."""
    mantissa, exponent = np.frexp(np.ravel(values))
    whole = np.ldexp(mantissa, 53).astype(np.int64)
    lowest = np.log2(np.where(whole, whole & -whole, 1).astype(np.float64)).astype(np.int64)  # of the bits that are set
    places = exponent.astype(np.int64) - 53
    bits = max(int(-np.min(np.where(whole, places + lowest, 0), initial=0)), 0)
    right = np.where(places + bits < 0, -(places + bits), 0)
    left = np.where(whole, np.maximum(places + bits, 0), 0)
    pairs = zip((whole >> np.minimum(right, 63)).tolist(), left.tolist(), strict=True)
    return [n << shift for n, shift in pairs], bits


def nearest(value: Fraction) -> float:
    """The nearest finite double: a rate of denormal costs may be larger than any."""
    try:
        return float(value)
    except OverflowError:
        return sys.float_info.max if value > 0 else -sys.float_info.max


@dataclass(frozen=True, eq=False, repr=False)
class Choice(Display):
    """Menus of G decisions over K blocks: tied blocks are one decision. Options that are ruled out are left out.

    losses : (n,) the loss of every option, decision after decision. costs : (n, M) what it uses of every budget.
    first : (G + 1,) decision g has the options first[g] ... first[g + 1] - 1. option : (n,) their place in the menu
        as it was given. budgets : (M,). decision : (K,) the decision that a block belongs to.
    names : (K,) the blocks. labels : (K,) the options of each block as they were given.

    Examples:
        >>> menus = zp.choice([[3, 1], [2, 0]], costs=[[1, 2], [1, 4]], budget=3, names=["q", "k"])
        >>> print(menus)
        choice: one option per block, the least total loss
            minimise    sum_k  w_kj(k)
            subject to  sum_k  c_kj(k)  <=  B
            with K = 2 blocks, 4 options, B = 3
    """

    losses: Array
    costs: Array
    first: Indices
    option: Indices
    budgets: Array
    decision: Indices
    names: Sequence[str]
    labels: Sequence[Sequence[str]]

    @property
    def blocks(self) -> int:
        """K."""
        return self.decision.size

    @property
    def decisions(self) -> int:
        """G <= K."""
        return self.first.size - 1

    @property
    def owner(self) -> Indices:
        """(n,) the decision that each option belongs to."""
        return np.repeat(np.arange(self.decisions), np.diff(self.first))

    def least(self, values: Array) -> Array:
        """(G,) the least of every decision's values; values : (n,)."""
        return np.minimum.reduceat(values, self.first[:-1])

    def rows(self, choice: Sequence[int] | Indices) -> Indices:
        """(G,) the rows of `losses` that a choice of K options takes. The choice is one that `admits` accepts."""
        taken = np.zeros(self.decisions, dtype=np.intp)
        taken[self.decision] = np.asarray(choice)
        return np.flatnonzero(self.option == taken[self.owner])

    def options_of(self, rows: Indices) -> Indices:
        """(K,) the place of every block's option in its menu; rows : (G,)."""
        return self.option[rows][self.decision]

    def admits(self, choice: Sequence[int] | Indices) -> bool:
        """Is one option that is not ruled out taken for every block, and the same by tied blocks? Costs aside."""
        j = np.asarray(choice)
        if j.shape != self.decision.shape or not np.issubdtype(j.dtype, np.integer):
            return False
        return self.rows(j).size == self.decisions and bool((self.options_of(self.rows(j)) == j).all())

    def priced(self, multipliers: Array) -> Array:
        """(n,) w + lambda . c in float64. multipliers : (M,)."""
        values: Array = self.losses + self.costs @ multipliers
        return values

    def dual_bound(self, multipliers: Array) -> float:
        """A double that D(lambda) is not below, at most K (M + 3) roundings under it. multipliers : (M,) >= 0."""
        doubt = (multipliers.size + 3) * EPSILON
        with np.errstate(over="ignore", invalid="ignore"):
            size = np.abs(self.losses) + self.costs @ multipliers
            least = self.least(np.nextafter(self.priced(multipliers) - doubt * size, -np.inf))
            spent = np.nextafter(-multipliers * self.budgets * (1.0 + doubt), -np.inf)
        terms = np.append(least, spent)
        if not np.isfinite(terms).all():  # too large for doubles: no price proves at least something
            return self.dual_bound(np.zeros_like(multipliers))
        return math.nextafter(math.fsum(terms.tolist()), -math.inf)

    def dual(self, multipliers: Sequence[Fraction]) -> Fraction:
        """D(lambda) exactly: no feasible choice has a smaller objective. multipliers : (M,) >= 0, rational."""
        values, spent, unit = self.exactly_priced(multipliers)
        return Fraction(sum(min(values[a:b]) for a, b in pairwise(self.first.tolist())) - spent, unit)

    def exactly_priced(self, multipliers: Sequence[Fraction]) -> tuple[list[int], int, int]:
        """w + lambda . c of all n options and lambda . B, as whole numbers, and how many of them make one."""
        below = math.lcm(*(m.denominator for m in multipliers))
        losses, loss_bits = integers(self.losses)
        costs, cost_bits = integers(np.append(self.costs, self.budgets))
        bits, several, n = max(loss_bits, cost_bits), len(multipliers), self.losses.size
        prices = [int(m * below) << bits - cost_bits for m in multipliers]
        values = [below * loss << bits - loss_bits for loss in losses]
        for m, price in enumerate(prices):
            values = [v + price * c for v, c in zip(values, costs[m : n * several : several], strict=True)]
        spent = sum(price * b for price, b in zip(prices, costs[n * several :], strict=True))
        return values, spent, below << bits

    def latex(self) -> str:
        """The displayed program, for documentation and reports."""
        return LATEX

    def _headline(self) -> str:
        return f"K = {self.blocks} blocks, {self.losses.size} options, {self.budgets.size} budgets"

    def _columns(self) -> Columns:
        """The options that are not ruled out; tied blocks are one decision, under the name of the first."""
        leaders = np.unique(self.decision, return_index=True)[1]
        rows = list(zip(leaders[self.owner].tolist(), self.option.tolist(), strict=True))
        return {
            "block": [self.names[k] for k, _ in rows],
            "option": [self.labels[k][j] for k, j in rows],
            "loss": self.losses.tolist(),
            **{f"cost {m}": column.tolist() for m, column in enumerate(self.costs.T)},
        }

    def __repr__(self) -> str:
        several = self.budgets.size > 1
        budgets = ", ".join(f"{b:g}" for b in self.budgets)
        tied = f" ({self.decisions} after tying)" if self.decisions < self.blocks else ""
        return (
            "choice: one option per block, the least total loss\n"
            "    minimise    sum_k  w_kj(k)\n"
            f"    subject to  sum_k  c_kj(k){',m' if several else ''}  <=  {'B_m' if several else 'B'}\n"
            f"    with K = {self.blocks} blocks{tied}, {self.losses.size} options, "
            f"{'B_m' if several else 'B'} = {budgets}"
        )
