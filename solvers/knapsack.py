"""Solver of the knapsack equation, the dual of every program of one term.

    find u with  sum_k a_k clip(p_k u + r_k, l_k, h_k) = R,     a, p > 0

The left side is continuous, piecewise linear and non-decreasing in the level u. Given the interior layers,
l_k < p_k u + r_k < h_k, u is one quotient. Sorting the breakpoints and summing the left side along them gives u up to
rounding (Helgason, Kennington & Lall 1980). Newton's method with error-free sums then ends at the level whose sides are
those from which it was computed. If a layer is so near a bound that rounding decides its side, a binary search over the
breakpoints replaces Newton's method.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zetaplan.spec.summation import Array, accurate_dot, dot, exact_dot

Sides = NDArray[np.int8]

FLOOR, INTERIOR, CAP = -1, 0, 1
REFINEMENTS = 8  # Newton steps before the binary search; rounding usually needs one or two
MISSED = 1e-12  # of the limit: far above the rounding of a sum, far below the tolerance of a certificate
PASSES = 20  # of refinement, 16 digits each; together they cover the range of doubles
DOUBT = 2.0**-48  # relative; a level is right to about ten roundings, so a layer nearer to a bound has no certain side


class Knapsack(NamedTuple):
    """sum_k a_k clip(p_k u + r_k, l_k, h_k) = R; arrays of shape (K,), h may be infinite, r may be one number.

    last : if the solutions are an interval (every layer is at a bound), take the largest u, else the smallest. The
    caller chooses the end with the smaller multiplier.
    """

    a: Array
    p: Array
    r: Array | float
    lower: Array
    upper: Array
    limit: float
    last: bool

    def at(self, u: float) -> Array:
        """The plan at level u."""
        return np.minimum(np.maximum(self.p * u + self.r, self.lower), self.upper)

    def plan(self, u: float) -> tuple[Array, float]:
        """The plan at level u, and what it uses."""
        x = self.at(u)
        return x, dot(self.a, x)

    def use(self, u: float) -> float:
        """The left side at level u."""
        return self.plan(u)[1]

    def binds(self, u: float) -> bool:
        """Whether level u is known to be beyond the solution; `bracketing.Layers` knows without a sum."""
        return False


def solve(knapsack: Knapsack, start: float | None = None) -> float:
    """The level u that solves the equation. A solution must exist.

    start : a level near the solution; saves the sort.
    """
    side = _sides(knapsack, _near(knapsack) if start is None else start)
    for _ in range(REFINEMENTS):
        u = _level(knapsack, side)
        refined = _sides(knapsack, u)
        if refined.tobytes() == side.tobytes():
            return u if _certain(knapsack, side, u) else _search(knapsack)
        side = refined
    return _search(knapsack)


def refined(knapsack: Knapsack, u: float) -> Array:
    """The plan at the level u that solves the equation, without the rounding error of p u + r.

    Each pass solves the equation for the distance from u, with r replaced by p u + r, and adds 16 digits.
    """
    x = knapsack.at(u)
    for _ in range(PASSES):
        if not np.isfinite(u) or meets(knapsack.a, x, knapsack.limit):
            break
        knapsack = knapsack._replace(r=knapsack.p * u + knapsack.r)
        u = solve(knapsack, start=0.0)
        x = knapsack.at(u)
    return x


def meets(a: Array, x: Array, limit: float) -> bool:
    """Whether the plan uses the whole limit up to the rounding of the sum."""
    return abs(dot(a, x) - limit) <= MISSED * abs(limit)


def _near(knapsack: Knapsack) -> float:
    """The level up to rounding, from running sums of the left side over the sorted breakpoints."""
    a, p, r, lower, upper, limit, _ = knapsack
    with np.errstate(all="ignore"):  # breakpoints of infinite caps are infinite and not used
        points, growth = (lower - r) / p, a * p
        if np.count_nonzero(upper == np.inf) < upper.size:
            points, growth = np.concatenate((points, (upper - r) / p)), np.concatenate((growth, -growth))
        order = points.argsort()
        points, growth = points[order], np.add.accumulate(growth[order])
        use = np.add.accumulate(growth[:-1] * (points[1:] - points[:-1]))
        left = limit - dot(a, lower)
        piece = int(use.searchsorted(left))
        return float(points[piece] + (left - (use[piece - 1] if piece else 0.0)) / growth[piece])


def _sides(knapsack: Knapsack, u: float) -> Sides:
    x = knapsack.p * u + knapsack.r
    floor = x <= knapsack.lower
    return ((x >= knapsack.upper) > floor).view(np.int8) - floor.view(np.int8)


def _certain(knapsack: Knapsack, side: Sides, u: float) -> bool:
    """Whether every layer is far enough from its bounds that rounding cannot have changed its side."""
    if np.count_nonzero(side) == side.size:
        return False
    _, p, r, lower, upper, _, _ = knapsack
    moved = p * u
    x, doubt = moved + r, DOUBT * (np.abs(moved) + np.abs(r))
    near = np.minimum(np.abs(x - lower), np.abs(x - upper)) <= doubt
    return not np.count_nonzero(near) or not np.count_nonzero(near & (lower < upper))


def _search(knapsack: Knapsack) -> float:
    """u by binary search over the sorted breakpoints, where a layer leaves its floor or reaches its cap.

    At a breakpoint its layer is at the bound, so the gap is summed without error and its sign is right for layers of
    any sizes. On the piece between the last two breakpoints u is one quotient.
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
    return min(max(_level(knapsack, side), left), right)


def _level(knapsack: Knapsack, side: Sides) -> float:
    """u given the sides: one quotient whose numerator is summed without cancellation."""
    a, p, r, lower, upper, limit, _ = knapsack
    if np.count_nonzero(side) == side.size:
        return _vertex(knapsack, side)
    constant = np.where(side == FLOOR, lower, np.where(side == CAP, upper, r))
    rate = dot(a, np.where(side == INTERIOR, p, 0.0))  # positive terms do not cancel
    return -accurate_dot(a, constant, -limit) / rate


def _vertex(knapsack: Knapsack, side: Sides) -> float:
    """u if every layer is at a bound: between the last cap reached and the next floor left."""
    _, p, r, lower, upper, _, last = knapsack
    cap, floor = side == CAP, (side == FLOOR) & (lower < upper)  # a layer with equal bounds does not restrict u
    if floor.any() and (last or not cap.any()):
        return float(((lower - r) / p)[floor].min())
    return float(((upper - r) / p)[cap].max())
