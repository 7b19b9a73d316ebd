"""The batches of `solvers.batch` on the CPU: equations in numpy, solved row by row in compiled loops."""

from __future__ import annotations

import numpy as np

from zetaplan.solvers import compiled_rows
from zetaplan.solvers.exact import TAME, pieces, solve_exact
from zetaplan.spec.batch import Batch
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array


@np.errstate(all="ignore")  # as in `solve_exact`
def solve_rows(batch: Batch) -> tuple[Array, Array]:
    """(x, multiplier) as numpy arrays; as `solvers.batch.solve_rows`, and `solve_exact` where rounding could matter."""
    (derivation,), channel, limit = derive(batch.program), batch.channel, batch.limit.contiguous().numpy()
    equation, start = pieces(derivation, channel, batch.knobs), derivation.level_at(0.0, batch.knobs)
    x, u = np.empty_like(channel.weight), np.empty_like(limit)
    slack, certain = np.empty(limit.size, dtype=np.bool_), np.empty(limit.size, dtype=np.bool_)
    compiled_rows.rows(channel.unit_cost, *equation, limit, start, batch.program.sign, x, u, slack, certain)
    multiplier = np.where(slack, 0.0, np.maximum(derivation.multiplier_of(0.0, u, 0.0, 0.0, *batch.knobs), 0.0))
    if derivation.has_powers:
        certain &= ((equation[0] > 1.0 / TAME) & (equation[0] < TAME)).all(1)
    if not derivation.uses and derivation.declared_price_of(*batch.knobs) == 0.0:
        certain &= ~slack | channel.weight.all(1)  # `solvers.weightless`
    for n in np.flatnonzero(~certain).tolist():
        alone = solve_exact(batch.instance(n))
        x[n], multiplier[n] = alone.x, alone.multiplier
    return x, multiplier
