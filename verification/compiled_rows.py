"""The conditions of `verification.batch` for many small claims, compiled: one row each, no temporary array per step.

Gradients, objectives and minimisers come in as numbers; `verification.batch` derives them from the declaration.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float64, njit, types, void

from zetaplan.spec.instance import EPSILON
from zetaplan.verification.claim import LEAST, ROUNDING, TOLERANCE, UNITS

ROWS, READ = types.Array(float64, 2, "C", readonly=True), types.Array(float64, 1, "C", readonly=True)
OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
SIZE = np.int64(2**63 - 1)  # the bits of a double without its sign; the next integer is the next double


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _larger(a: float, b: float) -> float:
    """The larger number, NaN if either is NaN."""
    return a if (a > b) | (a != a) else b


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _smaller(a: float, b: float) -> float:
    """The smaller number, NaN if either is NaN."""
    return a if (a < b) | (a != a) else b


@njit(void(ROWS, ROWS, ROWS, float64[:, ::1], float64[:, ::1]), **OPTIONS)  # type: ignore[untyped-decorator]
def ends(x: Any, lower: Any, upper: Any, low: Any, high: Any) -> None:
    """Fill low and high (N, K), the ends of the interval that rounds to x, inside the box."""
    bits, following = x.view(np.int64), np.empty(x.shape[1], dtype=np.int64)
    above = following.view(np.float64)
    for n in range(x.shape[0]):
        for k in range(x.shape[1]):
            following[k] = (bits[n, k] & SIZE) + 1
        for k in range(x.shape[1]):
            slip = UNITS * (above[k] - abs(x[n, k]))
            low[n, k], high[n, k] = _larger(x[n, k] - slip, lower[n, k]), _smaller(x[n, k] + slip, upper[n, k])


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _relative(amount: float, scale: float) -> float:
    return amount / scale if scale != 0.0 else amount


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _scale(amount: float, volume: float) -> float:
    return amount + ROUNDING / TOLERANCE * volume


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _product(factor: float, value: float) -> float:
    """The product, with 0 inf = 0."""
    return 0.0 if (factor == 0.0) | (value == 0.0) else factor * value


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _gains(slope: Any, magnitude: Any, sign: float, steep: float, gain: Any) -> None:
    """sign times dL/dx over the sum of the absolute values of its terms; steep, the slope if it is not 0."""
    for k in range(slope.size):
        part = np.sign(slope[k]) if np.isinf(slope[k]) else slope[k] / magnitude[k]
        gain[k] = sign * (steep if steep != 0.0 else part)


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _volumes(
    unit_cost: Any, weight: Any, lower: Any, upper: Any, x: Any, offset: Any, falls: Any, rises: Any
) -> tuple[float, float]:
    """(the part of the resource that rounding affects, the sum of all absolute values)."""
    inner, every = 0.0, 0.0
    for k in range(x.size):
        flat = ROUNDING * (1.0 + abs(offset[k]))
        inside = ((x[k] > lower[k]) | (falls[k] < flat)) & ((x[k] < upper[k]) | (rises[k] < flat))
        inner += unit_cost[k] * (abs(x[k]) + abs(offset[k])) if inside & (weight[k] > 0.0) else 0.0
        every += unit_cost[k] * abs(x[k]) + LEAST
    return inner, every


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _outside(lower: Any, upper: Any, x: Any) -> float:
    worst = 0.0
    for k in range(x.size):
        if lower[k] <= x[k] <= upper[k]:  # false for NaN
            continue
        bound = lower[k] if x[k] < lower[k] else upper[k]
        worst = _larger(worst, abs(x[k] - bound) / _larger(abs(x[k]), abs(bound)))
    return worst


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _misses(lower: Any, upper: Any, x: Any, falls: Any, rises: Any) -> tuple[float, float]:
    """The largest residuals of the box multipliers and of stationarity."""
    wrong, missed = 0.0, 0.0
    for k in range(x.size):
        gain = _larger(falls[k], rises[k])
        if gain <= 0.0:
            continue
        unit, up, down = _larger(abs(x[k]), 1.0), x[k] - lower[k], upper[k] - x[k]
        floor, cap = up <= TOLERANCE * unit, down <= TOLERANCE * unit
        if floor != cap:
            wrong = _larger(wrong, rises[k] if floor else falls[k])
        if not (floor | cap):
            missed = _larger(missed, _smaller(gain, abs(up if falls[k] > 0.0 else down) / unit))
    return wrong, missed


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _losses(
    unit_cost: Any, lower: Any, upper: Any, x: Any, low: Any, high: Any, falls: Any, rises: Any,
    cheapest: Any, value: Any, least: Any, sign: float, multiplier: float, price: float,
) -> tuple[float, float, float]:  # fmt: skip
    """Sums over the layers: L(x) - min L, the absolute values of its terms, and the objective."""
    losses, sizes, objective = 0.0, 0.0, 0.0
    for k in range(x.size):
        objective += value[k]
        optimal = ((falls[k] <= 0.0) | (low[k] <= lower[k])) & ((rises[k] <= 0.0) | (high[k] >= upper[k]))
        if optimal | (x[k] == cheapest[k]) | (abs(x[k] - cheapest[k]) <= LEAST):
            losses += value[k] - value[k]  # NaN if it is infinite
            continue
        y, use = cheapest[k], unit_cost[k] * (abs(x[k]) + abs(cheapest[k]))
        losses += value[k] - least[k] + _product(multiplier, sign * unit_cost[k] * (x[k] - y))
        sizes += abs(value[k]) + abs(least[k]) + _product(abs(multiplier) + price, use)
    return losses, sizes, objective


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _gap(losses: float, sizes: float, objective: float, multiplier: float, least: float) -> float:
    """The gap over its scale; infinite if it is not finite."""
    if not np.isfinite(losses):
        return np.inf
    return abs(losses) if np.isinf(multiplier) else _relative(abs(losses), _scale(abs(objective), sizes) + least)


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _use(unit_cost: Any, x: Any) -> float:
    total = 0.0
    for k in range(x.size):
        total += unit_cost[k] * x[k]
    return total


@njit(void(*(ROWS,) * 4, READ, ROWS, READ, *(ROWS,) * 10, float64, float64, float64[:, ::1]), **OPTIONS)  # type: ignore[untyped-decorator]
def conditions(
    unit_cost: Any, weight: Any, lower: Any, upper: Any, limit: Any, x: Any, multiplier: Any,
    low: Any, high: Any, offset: Any, slope_low: Any, size_low: Any, slope_high: Any, size_high: Any,
    cheapest: Any, value: Any, least: Any, price: float, sign: float, found: Any,
) -> None:  # fmt: skip
    """Fill found (N, 7), the residuals of every claim in the order of `verification.batch.CONDITIONS`.

    slope, size : dL/dx and the sum of the absolute values of its terms, above 0, at the ends low and high. value,
    least : the objective at x and at cheapest, the minimiser of the Lagrangian. price : declared. sign : 1 for budgets.
    """
    falls, rises = np.empty(x.shape[1]), np.empty(x.shape[1])
    for n in range(x.shape[0]):
        m, c, l, h, y = multiplier[n], unit_cost[n], lower[n], upper[n], x[n]
        steep = sign * np.sign(m) if np.isinf(m) else 0.0
        _gains(slope_low[n], size_low[n], 1.0, steep, falls)
        _gains(slope_high[n], size_high[n], -1.0, steep, rises)
        excess = sign * (_use(c, y) - limit[n])
        inner, every = _volumes(c, weight[n], l, h, y, offset[n], falls, rises)
        volume = inner + EPSILON / ROUNDING * (every + abs(limit[n]))
        scale, prices = _scale(abs(limit[n]), volume), abs(m) + price
        share = 1.0 if np.isinf(m) else _relative(abs(m), prices)
        found[n, 0] = _relative(_larger(excess, 0.0), scale)
        found[n, 1] = _outside(l, h, y)
        found[n, 2] = _relative(_larger(-m, 0.0), prices)
        found[n, 3], found[n, 4] = _misses(l, h, y, falls, rises)
        found[n, 5] = _product(share, _relative(abs(excess), scale))
        losses, sizes, objective = _losses(
            c, l, h, y, low[n], high[n], falls, rises, cheapest[n], value[n], least[n], sign, m, price
        )
        losses, sizes = losses - _product(m, excess), sizes + _product(abs(m), volume)
        found[n, 6] = _gap(losses, sizes, objective, m, LEAST * (c.size + abs(limit[n])))
