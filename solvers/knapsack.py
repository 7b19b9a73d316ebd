"""The one kernel of both programs: a continuous quadratic knapsack on the dual side.

    find u with  sum_k a_k clip(p_k u + r_k, l_k, h_k) = R,     a, p > 0

The left side is continuous, piecewise linear and non-decreasing in u, so u is one quotient once it is known
which layers are *interior*, l_k < p_k u + r_k < h_k. Variable fixing (Bitran & Hax 1981, Brucker 1984, Kiwiel
2008) finds them: solve as if all free layers were interior; those that leave the box on the prevailing side
stay there in the solution, so fix them and repeat. Every pass fixes a layer, hence the algorithm is finite.
Where a layer stands so near a bound that its side is a matter of rounding, the breakpoints are searched instead.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from zetaplan.spec.summation import Array, exact_dot, exact_sum

Sides = NDArray[np.int8]

FLOOR, INTERIOR, CAP = -1, 0, 1
REFINEMENTS = 4  # rounding moves a layer across its bound once or twice; beyond that, search
DOUBT = 2.0**-48  # a price is right to some ten roundings; nearer to a bound than this, the side is not certain


class Knapsack(NamedTuple):
    """sum_k a_k clip(p_k u + r_k, l_k, h_k) = R; arrays of shape (K,), h may be infinite.

    last : take the largest u where the solutions are an interval (every layer stands at a bound), else the
    smallest; the caller picks the end with the smaller multiplier.
    """

    a: Array
    p: Array
    r: Array
    lower: Array
    upper: Array
    limit: float
    last: bool

    def at(self, u: float) -> Array:
        """The plan at price u."""
        return np.minimum(np.maximum(self.p * u + self.r, self.lower), self.upper)


def solve(knapsack: Knapsack) -> float:
    """The price u that solves the equation; the caller has made sure that there is one."""
    u = _price(knapsack, _fix_variables(knapsack))
    for _ in range(REFINEMENTS):
        side = _sides(knapsack, u)
        refined = _price(knapsack, side)
        if refined == u:
            return u if _certain(knapsack, side, u) else _search(knapsack)
        u = refined
    return _search(knapsack)


def _fix_variables(knapsack: Knapsack) -> Sides:
    """Which side every layer stands on, up to rounding: FLOOR, INTERIOR or CAP."""
    side = np.zeros(knapsack.p.size, dtype=np.int8)
    free = np.arange(knapsack.p.size)
    a, p, r, lower, upper, left, _ = knapsack
    while free.size:
        u = (left - float((a * r).sum())) / float((a * p).sum())
        x = p * u + r
        below, above = x <= lower, x >= upper
        deficit = float((a * (lower - x))[below].sum())
        excess = float((a * (x - upper))[above].sum())
        if deficit == excess:
            side[free[below]], side[free[above]] = FLOOR, CAP
            break
        fixed, bound, which = (below, lower, FLOOR) if deficit > excess else (above, upper, CAP)
        side[free[fixed]] = which
        left -= float((a * bound)[fixed].sum())
        keep = ~fixed
        free, a, p, r, lower, upper = free[keep], a[keep], p[keep], r[keep], lower[keep], upper[keep]
    return side


def _sides(knapsack: Knapsack, u: float) -> Sides:
    x = knapsack.p * u + knapsack.r
    return np.where(x <= knapsack.lower, FLOOR, np.where(x >= knapsack.upper, CAP, INTERIOR)).astype(np.int8)


def _certain(knapsack: Knapsack, side: Sides, u: float) -> bool:
    """Is no layer so near a bound that rounding may have chosen its side? A large one would mislead all small ones."""
    if not (side == INTERIOR).any():
        return False
    _, p, r, lower, upper, _, _ = knapsack
    x, doubt = p * u + r, DOUBT * (np.abs(p * u) + np.abs(r))
    near = (np.abs(x - lower) <= doubt) | (np.abs(x - upper) <= doubt)
    return not bool((near & (lower < upper)).any())


def _search(knapsack: Knapsack) -> float:
    """u by halving over the sorted breakpoints, where a layer leaves its floor or reaches its cap.

    At a breakpoint its layer stands exactly at the bound, so the gap is summed without error and its sign is right
    however much the layers differ in size; the piece between the last two breakpoints is one quotient.
    """
    a, p, r, lower, upper, limit, last = knapsack
    movable = lower < upper
    rise, top = np.where(movable, (lower - r) / p, np.inf), np.where(movable, (upper - r) / p, np.inf)

    def short(u: float) -> bool:
        x = np.where(rise >= u, lower, np.where(top <= u, upper, np.clip(p * u + r, lower, upper)))
        gap = exact_dot(np.append(a, -1.0), np.append(x, limit))
        return gap < 0.0 or (last and gap == 0.0)

    points = np.unique(np.concatenate((rise, top)))
    points = points[np.isfinite(points)]
    low, high = -1, points.size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if short(float(points[middle])) else (low, middle)
    left = float(points[low]) if low >= 0 else -np.inf
    right = float(points[high]) if high < points.size else np.inf
    side = np.where(rise >= right, FLOOR, np.where(top <= left, CAP, INTERIOR)).astype(np.int8)
    if not (side == INTERIOR).any():
        return left if last or right == np.inf else right
    return min(max(_price(knapsack, side), left), right)


def _price(knapsack: Knapsack, side: Sides) -> float:
    """u given the sides: one quotient, its numerator summed without cancellation."""
    a, p, r, lower, upper, limit, _ = knapsack
    interior = side == INTERIOR
    if not interior.any():
        return _vertex(knapsack, side)
    constant = np.where(interior, r, np.where(side == FLOOR, lower, upper))
    rest = exact_dot(np.append(-a, 1.0), np.append(constant, limit))
    return rest / exact_sum((a * p)[interior])


def _vertex(knapsack: Knapsack, side: Sides) -> float:
    """Every layer stands at a bound: u lies between the last cap reached and the next floor to be left."""
    _, p, r, lower, upper, _, last = knapsack
    cap, floor = side == CAP, (side == FLOOR) & (lower < upper)  # a pinned layer says nothing about u
    if floor.any() and (last or not cap.any()):
        return float(((lower - r) / p)[floor].min())
    return float(((upper - r) / p)[cap].max())
