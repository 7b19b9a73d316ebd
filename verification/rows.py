"""The certificates of `verification.batch` on the CPU: compiled expressions of the declaration, judged row by row.

No solver is imported here. `verification.batch` derives its own functions on tensors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zetaplan.spec.batch import Batch
from zetaplan.spec.compiled import compiled
from zetaplan.spec.derivation import SMALLEST, derive
from zetaplan.spec.instance import Array
from zetaplan.verification import compiled_rows
from zetaplan.verification.batch import CONDITIONS
from zetaplan.verification.claim import underflow


@np.errstate(all="ignore")  # an invalid claim gives NaN, which satisfies no condition
def residuals(batch: Batch, x: Array, multiplier: Array) -> Array:
    """The residuals of N claims as `verification.batch.residuals`, (N, 7); x : (N, K), multiplier : (N,)."""
    (derivation,), channel, knobs = derive(batch.program), batch.channel, batch.knobs
    found = np.empty((len(x), len(CONDITIONS)))
    compiled_rows.conditions(
        channel.unit_cost,
        channel.weight,
        channel.lower,
        channel.upper,
        batch.limit.contiguous().numpy(),
        x,
        multiplier,
        _whole(derivation.objective(x, 0.0, channel.weight, channel.unit_cost, *knobs), x.shape),
        np.array(knobs),
        compiled(derivation, derivation.offset),
        compiled(derivation, derivation.stationarity, derivation.absolute_stationarity),
        compiled(derivation, derivation.combined_form),
        compiled(derivation, batch.term.objective),
        float(derivation.declared_price_of(*knobs)),
        underflow(0.0, knobs),
        SMALLEST if derivation.offset == 0 else -np.inf,
        batch.program.sign,
        found,
    )
    return found


def _whole(values: Any, shape: tuple[int, ...]) -> Array:
    return np.ascontiguousarray(np.broadcast_to(values, shape), dtype=np.float64)
