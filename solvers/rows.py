"""The batches of `solvers.batch` on the CPU: equations in numpy, solved row by row in a compiled loop."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, float64, njit, types, void

from zetaplan.solvers.compiled_rows import OPTIONS, READ, row
from zetaplan.solvers.exact import TAME, pieces, solve_exact
from zetaplan.spec.batch import Batch
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array

ROWS = types.Array(float64, 2, "C", readonly=True)


@np.errstate(all="ignore")  # as in `solve_exact`
def solve_rows(batch: Batch) -> tuple[Array, Array]:
    """(x, multiplier) as numpy arrays; as `solvers.batch.solve_rows`, and `solve_exact` where rounding could matter."""
    (derivation,), channel, limit = derive(batch.program), batch.channel, batch.limit.contiguous().numpy()
    equation, start = pieces(derivation, channel, batch.knobs), derivation.level_at(0.0, batch.knobs)
    x, u = np.empty_like(channel.weight), np.empty_like(limit)
    slack, certain = np.empty(limit.size, dtype=np.bool_), np.empty(limit.size, dtype=np.bool_)
    _rows(channel.unit_cost, *equation, limit, start, batch.program.sign, x, u, slack, certain)
    multiplier = np.where(slack, 0.0, np.maximum(derivation.multiplier_of(0.0, u, 0.0, 0.0, *batch.knobs), 0.0))
    if derivation.has_powers:
        certain &= ((equation[0] > 1.0 / TAME) & (equation[0] < TAME)).all(1)
    if not derivation.uses and derivation.declared_price_of(*batch.knobs) == 0.0:
        certain &= ~slack | channel.weight.all(1)  # `solvers.weightless`
    for n in np.flatnonzero(~certain).tolist():
        alone = solve_exact(batch.instance(n))
        x[n], multiplier[n] = alone.x, alone.multiplier
    return x, multiplier


@njit(  # type: ignore[untyped-decorator]
    void(*(ROWS,) * 5, READ, float64, float64, float64[:, ::1], float64[::1], boolean[::1], boolean[::1]), **OPTIONS
)
def _rows(
    a: Any, p: Any, r: Any, lower: Any, upper: Any, limit: Any,
    start: float, sign: float, x: Any, level: Any, slack: Any, certain: Any,
) -> None:  # fmt: skip
    """Fill x (N, K), level, slack and certain (N,) as `row`, row by row."""
    moving, constant = np.empty(a.shape[1]), np.empty(a.shape[1])
    for n in range(a.shape[0]):
        level[n], slack[n], certain[n] = row(
            a[n], p[n], r[n], lower[n], upper[n], limit[n], start, sign, x[n], moving, constant
        )
