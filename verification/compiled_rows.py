"""The conditions of `verification.batch` for many small claims, compiled: one row each, no temporary array per step.

The derived expressions come in as functions that fill one row (`spec.compiled`). No solver is imported here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float64, njit, types, void

from zetaplan.spec.compiled import ONE, READ, TWO
from zetaplan.spec.instance import EPSILON
from zetaplan.verification.claim import LEAST, ROUNDING, TOLERANCE, UNITS

ROWS, FILLS, FILLS_TWO = types.Array(float64, 2, "C", readonly=True), types.FunctionType(ONE), types.FunctionType(TWO)
ARGUMENTS = void(
    *(ROWS,) * 4, READ, ROWS, READ, ROWS, READ, FILLS, FILLS_TWO, FILLS, FILLS, *(float64,) * 4, float64[:, ::1]
)
OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"reassoc"}}
SIZE = np.int64(2**63 - 1)  # the bits of a double without its sign; the next integer is the next double


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _larger(a: float, b: float) -> float:
    """The larger number, NaN if either is NaN."""
    return a if (a > b) | (a != a) else b


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _smaller(a: float, b: float) -> float:
    """The smaller number, NaN if either is NaN."""
    return a if (a < b) | (a != a) else b


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _ends(x: Any, lower: Any, upper: Any, low: Any, high: Any) -> None:
    """Fill low and high (K,), the ends of the interval that rounds to x, inside the box."""
    bits, following = x.view(np.int64), low.view(np.int64)
    for k in range(x.size):
        following[k] = (bits[k] & SIZE) + 1
    for k in range(x.size):
        slip = UNITS * (low[k] - abs(x[k]))
        low[k], high[k] = _larger(x[k] - slip, lower[k]), _smaller(x[k] + slip, upper[k])


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
def _gains(slope: Any, size: Any, unit_cost: Any, lost: float, sign: float, steep: float) -> None:
    """Turn slope into sign dL/dx over the sum of the absolute values of its terms; steep, the slope if it is not 0."""
    for k in range(slope.size):
        part = np.sign(slope[k]) if np.isinf(slope[k]) else slope[k] / (size[k] + lost * (1.0 + unit_cost[k]))
        slope[k] = sign * (steep if steep != 0.0 else part)


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
def _misses(lower: Any, upper: Any, x: Any, falls: Any, rises: Any, outside: Any, wrong: Any, missed: Any) -> None:
    """Fill the residuals of the box, of the box multipliers and of stationarity; one below 0 is as good as 0."""
    for k in range(x.size):
        bound = _smaller(_larger(x[k], lower[k]), upper[k])
        outside[k] = 0.0 if bound == x[k] else abs(x[k] - bound) / _larger(abs(x[k]), abs(bound))
        unit, up, down = _larger(abs(x[k]), 1.0), x[k] - lower[k], upper[k] - x[k]
        floor, cap = up <= TOLERANCE * unit, down <= TOLERANCE * unit
        wrong[k] = (rises[k] if floor else falls[k]) if floor != cap else 0.0
        distance = abs(up if falls[k] > 0.0 else down) / unit
        missed[k] = 0.0 if floor | cap else _smaller(_larger(falls[k], rises[k]), distance)


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _worst(residual: Any) -> Any:
    """The largest residual, 0 if none is positive, NaN if any is NaN; the bits of doubles >= 0 have their order."""
    bits, worst = residual.view(np.int64), np.int64(0)
    for k in range(residual.size):
        worst = max(worst, np.int64(0) if residual[k] <= 0.0 else bits[k] & SIZE)
    bits[0] = worst
    return residual[0]


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _minimal(lower: Any, upper: Any, low: Any, high: Any, falls: Any, rises: Any, minimal: Any) -> bool:
    """Mark the layers at which x is a rounding of the minimiser of the Lagrangian; whether all are."""
    every = True
    for k in range(low.size):
        minimal[k] = ((falls[k] <= 0.0) | (low[k] <= lower[k])) & ((rises[k] <= 0.0) | (high[k] >= upper[k]))
        every &= minimal[k]
    return every


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _others(minimal: Any, layers: Any) -> Any:
    """The layers that are not marked, in the memory of `layers`."""
    count = 0
    for k in range(minimal.size):
        layers[count] = k
        count += not minimal[k]
    return layers[:count]


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _selected(values: Any, layers: Any, some: Any) -> Any:
    for k in range(layers.size):
        some[k] = values[layers[k]]
    return some[: layers.size]


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _clipped(x: Any, weight: Any, lower: Any, upper: Any, positive: float, spared: Any) -> None:
    """Turn the closed form into the minimiser in the box, as `Derivation.stationary`."""
    for k in range(x.size):
        inside = _larger(x[k], positive) if weight[k] > 0.0 else spared[k]
        x[k] = _smaller(_larger(inside, lower[k]), upper[k])


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _objective(value: Any) -> tuple[float, float]:
    """The sum, and 0 if it is of finite numbers, else NaN."""
    total, flaw = 0.0, 0.0
    for k in range(value.size):
        total += value[k]
        flaw += value[k] - value[k]
    return total, flaw


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _losses(
    unit_cost: Any, x: Any, cheapest: Any, value: Any, least: Any, sign: float, multiplier: float, price: float
) -> tuple[float, float]:  # fmt: skip
    """Sums over layers: L(x) - min L, and the absolute values of its terms."""
    losses, sizes = 0.0, 0.0
    for k in range(x.size):
        if (x[k] == cheapest[k]) | (abs(x[k] - cheapest[k]) <= LEAST):
            continue
        moved, use = unit_cost[k] * (x[k] - cheapest[k]), unit_cost[k] * (abs(x[k]) + abs(cheapest[k]))
        losses += value[k] - least[k] + _product(multiplier, sign * moved)
        sizes += abs(value[k]) + abs(least[k]) + _product(abs(multiplier) + price, use)
    return losses, sizes


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


@njit(ARGUMENTS, **OPTIONS)  # type: ignore[untyped-decorator]
def conditions(
    unit_cost: Any, weight: Any, lower: Any, upper: Any, limit: Any, x: Any, multiplier: Any, value: Any, knobs: Any,
    offset: Any, slopes: Any, closed_form: Any, objective: Any,
    price: float, lost: float, positive: float, sign: float, found: Any,
) -> None:  # fmt: skip
    """Fill found (N, 7), the residuals of every claim in the order of `verification.batch.CONDITIONS`.

    value : the objective at x. slopes : dL/dx and the sum of the absolute values of its terms. closed_form : the
    minimiser of the Lagrangian. price : declared. lost : the part of a gradient that doubles may lose, per
    1 + unit cost. positive : the least minimiser at a finite total price above 0. sign : 1 for budgets.
    """
    rows, layers = np.empty((8, x.shape[1])), np.empty(x.shape[1], dtype=np.intp)
    minimal = np.empty(x.shape[1], dtype=np.bool_)
    low, high, falls, rises, size = rows[0], rows[1], rows[2], rows[3], rows[4]
    shift, cheapest, least = rows[5], rows[6], rows[7]
    for n in range(x.shape[0]):
        m, w, c, l, h, y = multiplier[n], weight[n], unit_cost[n], lower[n], upper[n], x[n]
        steep = sign * np.sign(m) if np.isinf(m) else 0.0
        _ends(y, l, h, low, high)
        slopes(low, m, w, c, knobs, falls, size)
        _gains(falls, size, c, lost, 1.0, steep)
        slopes(high, m, w, c, knobs, rises, size)
        _gains(rises, size, c, lost, -1.0, steep)
        offset(y, m, w, c, knobs, shift)
        excess = sign * (_use(c, y) - limit[n])
        inner, every = _volumes(c, w, l, h, y, shift, falls, rises)
        volume = inner + EPSILON / ROUNDING * (every + abs(limit[n]))
        scale, prices = _scale(abs(limit[n]), volume), abs(m) + price
        share = 1.0 if np.isinf(m) else _relative(abs(m), prices)
        found[n, 0] = _relative(_larger(excess, 0.0), scale)
        found[n, 2] = _relative(_larger(-m, 0.0), prices)
        _misses(l, h, y, falls, rises, shift, size, cheapest)
        found[n, 1], found[n, 3], found[n, 4] = _worst(shift), _worst(size), _worst(cheapest)
        found[n, 5] = _product(share, _relative(abs(excess), scale))
        total, losses = _objective(value[n])
        sizes = 0.0
        if not _minimal(l, h, low, high, falls, rises, minimal):
            some = _others(minimal, layers)
            y, w, c = _selected(y, some, falls), _selected(w, some, rises), _selected(c, some, size)
            l, h, v = _selected(l, some, low), _selected(h, some, high), _selected(value[n], some, shift)
            charged, best = _larger(m, 0.0), cheapest[: some.size]
            closed_form(y, charged, w, c, knobs, best)
            floor = positive if (price + charged > 0.0) & (price + charged < np.inf) else -np.inf
            _clipped(best, w, l, h, floor, l if sign > 0.0 else h)
            objective(best, 0.0, w, c, knobs, least[: some.size])
            lost_here, sizes = _losses(c, y, best, v, least, sign, m, price)
            losses += lost_here
        losses, sizes = losses - _product(m, excess), sizes + _product(abs(m), volume)
        found[n, 6] = _gap(losses, sizes, total, m, LEAST * (x.shape[1] + abs(limit[n])))
