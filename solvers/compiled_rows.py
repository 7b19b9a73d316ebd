"""The knapsack equations of many small instances, compiled: one row each, no temporary array per step.

The loops are those of `solvers.batch` on tensors: fix what is outside on the prevailing side, recompute the last
quotient with error-free sums, and say whether rounding can have changed a side. A single instance is one row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, float64, njit, types

from zetaplan.solvers.knapsack import DOUBT, MISSED
from zetaplan.spec.instance import EPSILON
from zetaplan.spec.summation import SPLITTER

READ = types.Array(float64, 1, "C", readonly=True)
OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"reassoc", "nsz"}}
PLAIN = OPTIONS | {"fastmath": False}  # error-free sums need the order as written; unset, the caller's option holds


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _fill(a: Any, p: Any, r: Any, lower: Any, upper: Any, u: float, x: Any) -> float:
    """x_k = clip(p_k u + r_k, l_k, h_k), and sum_k a_k x_k."""
    use = 0.0
    for k in range(a.size):
        x[k] = min(max(p[k] * u + r[k], lower[k]), upper[k])
        use += a[k] * x[k]
    return use


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _dot(a: Any, b: Any) -> float:
    total = 0.0
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _fixed(a: Any, lower: Any, upper: Any, limit: float, moving: Any, constant: Any) -> bool:
    """Fix the moving layers that are outside the box on the prevailing side; whether there are any."""
    u, prevailing = (limit - _dot(a, constant)) / _dot(a, moving), 0.0
    for k in range(a.size):
        x = moving[k] * u + constant[k]
        prevailing += a[k] * (min(max(x, lower[k]), upper[k]) - x)
    found = False
    for k in range(a.size):
        x = moving[k] * u + constant[k]
        bound = min(max(x, lower[k]), upper[k])
        fixed = ((bound - x) * prevailing > 0.0) & (moving[k] > 0.0)
        constant[k] = bound if fixed else constant[k]
        moving[k] = 0.0 if fixed else moving[k]
        found |= fixed
    return found


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _settled(p: Any, r: Any, lower: Any, upper: Any, u: float, moving: Any, constant: Any) -> Any:
    """Whether some layer moves and every layer is on its side of the box by more than rounding."""
    certain, free = np.isfinite(u), False
    for k in range(p.size):
        moved = p[k] * u
        x, doubt = moved + r[k], DOUBT * (abs(moved) + abs(r[k]))
        inside = (x > lower[k] + doubt) & (x < upper[k] - doubt)
        beyond = x < lower[k] - doubt if constant[k] == lower[k] else x > upper[k] + doubt
        certain &= inside if moving[k] > 0.0 else beyond | (lower[k] == upper[k])
        free |= moving[k] > 0.0
    return certain & free


@njit(**PLAIN)  # type: ignore[untyped-decorator]
def _rest(a: Any, b: Any, limit: float) -> float:
    """limit - sum_k a_k b_k as in twice the precision and rounded once (Ogita, Rump & Oishi 2005)."""
    rest, lost = limit, 0.0
    for k in range(a.size):
        product = a[k] * b[k]
        a_high, b_high = _high(a[k]), _high(b[k])
        a_low, b_low = a[k] - a_high, b[k] - b_high
        total = rest - product
        shift = total - rest
        lost += (rest - (total - shift)) - (product + shift)
        lost -= ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
        rest = total
    return rest + lost


@njit(**PLAIN)  # type: ignore[untyped-decorator]
def _high(value: float) -> float:
    scaled = SPLITTER * value
    return scaled - (scaled - value)


@njit(  # type: ignore[untyped-decorator]
    types.Tuple((float64, boolean, boolean))(*(READ,) * 5, *(float64,) * 3, *(float64[::1],) * 3), **OPTIONS
)
def row(
    a: Any, p: Any, r: Any, lower: Any, upper: Any,
    limit: float, start: float, sign: float, x: Any, moving: Any, constant: Any,
) -> tuple[float, bool, bool]:  # fmt: skip
    """Fill x (K,) for sum_k a_k clip(p_k u + r_k, l_k, h_k) = R; (level, slack, certain).

    start : the level at multiplier 0, where the limit may be slack. sign : of the constraint, 1 for a budget.
    certain : whether rounding changes neither a side nor the answer whether the limit is slack. moving, constant : (K,)
    for use here.
    """
    use = _fill(a, p, r, lower, upper, start, x)
    surplus = sign * (limit - use)
    if np.isinf(use) or abs(surplus) > a.size * EPSILON * (abs(use) + abs(limit)):
        if surplus >= 0.0:
            return start, True, True
    else:
        return start, surplus >= 0.0, False
    moving[:], constant[:] = p, r
    while _fixed(a, lower, upper, limit, moving, constant):
        pass
    level = _rest(a, constant, limit) / _dot(a, moving)
    use = _fill(a, p, r, lower, upper, level, x)
    met = abs(use - limit) <= MISSED * abs(limit)
    return level, False, met and _settled(p, r, lower, upper, level, moving, constant)
