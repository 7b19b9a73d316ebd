"""Compiled loops over many layers: their sum between two levels, and their plan at one level.

With slope_k = scale numerator_k / denominator_k, each loop reads the data once and allocates no temporary array. The
machine code is cached on disk and loaded on first use. The loops sum in lanes, so a piece of n layers adds at most
n / 32 roundings to a lane.
"""

from __future__ import annotations

from typing import Any

from numba import boolean, float64, njit, types

READ = types.Array(float64, 1, "C", readonly=True)
DATA = (READ, READ, READ, float64, READ, READ, READ)
OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"reassoc", "nsz"}}


@njit(types.Tuple((float64, float64, float64))(*DATA, float64, float64, boolean[::1]), **OPTIONS)  # type: ignore[untyped-decorator]
def tally(
    a: Any, numerator: Any, denominator: Any, scale: float, r: Any, lower: Any, upper: Any,
    low: float, high: float, doubtful: Any,
) -> tuple[float, float, float]:  # fmt: skip
    """(rate, fixed, volume): sum_k a_k clip(p_k u + r_k, l_k, h_k) = rate u + fixed for every u in [low, high].

    Layers that enter or leave their box between the two levels are marked in `doubtful` and not summed. volume is the
    sum of the absolute values of the terms of `fixed`.
    """
    rate, fixed, volume = 0.0, 0.0, 0.0
    for k in range(a.size):
        p = scale * numerator[k] / denominator[k]
        first, last = p * low + r[k], p * high + r[k]
        floor, cap = last <= lower[k], first >= upper[k]
        interior = (first > lower[k]) & (last < upper[k])
        doubtful[k] = not (floor | cap | interior)
        constant = lower[k] if floor else (upper[k] if cap else (r[k] if interior else 0.0))
        rate += a[k] * p if interior else 0.0
        fixed += a[k] * constant
        volume += abs(a[k] * constant)
    return rate, fixed, volume


@njit(float64(*DATA, float64, float64[::1]), **OPTIONS)  # type: ignore[untyped-decorator]
def fill(
    a: Any, numerator: Any, denominator: Any, scale: float, r: Any, lower: Any, upper: Any, u: float, x: Any
) -> float:  # fmt: skip
    """Fill x_k = clip(p_k u + r_k, l_k, h_k); the sum of a_k x_k."""
    use = 0.0
    for k in range(a.size):
        x[k] = min(max(scale * numerator[k] / denominator[k] * u + r[k], lower[k]), upper[k])
        use += a[k] * x[k]
    return use
