"""The certificates of `verification.batch` on the CPU: numpy derives, compiled loops judge. No solver is imported here.

The derived numbers come from the functions that `certify` uses; `verification.batch` derives its own on tensors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zetaplan.spec.batch import Batch
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array
from zetaplan.verification import compiled_rows
from zetaplan.verification.batch import CONDITIONS
from zetaplan.verification.claim import underflow


@np.errstate(all="ignore")  # an invalid claim gives NaN, which satisfies no condition
def residuals(batch: Batch, x: Array, multiplier: Array) -> Array:
    """The residuals of N claims as `verification.batch.residuals`, (N, 7); x : (N, K), multiplier : (N,)."""
    (derivation,), channel, knobs = derive(batch.program), batch.channel, batch.knobs
    data, column = (channel.weight, channel.unit_cost, *knobs), multiplier[:, None]
    low, high, found = np.empty_like(x), np.empty_like(x), np.empty((len(x), len(CONDITIONS)))
    compiled_rows.ends(x, channel.lower, channel.upper, low, high)
    cheapest = derivation.stationary(np.maximum(column, 0.0), channel, knobs)
    gradients, lost = [], underflow(channel.unit_cost, knobs)
    for end in (low, high):
        gradients += [
            derivation.lagrangian_gradient(end, column, *data),
            derivation.magnitude(end, column, *data) + lost,
        ]
    objectives = [derivation.objective(plan, 0.0, *data) for plan in (x, cheapest)]
    derived = (derivation.offset_of(0.0, 0.0, *data), *gradients, cheapest, *objectives)
    price = derivation.declared_price_of(*knobs)
    limit = batch.limit.contiguous().numpy()
    compiled_rows.conditions(
        channel.unit_cost,
        channel.weight,
        channel.lower,
        channel.upper,
        limit,
        x,
        multiplier,
        low,
        high,
        *(_whole(values, x.shape) for values in derived),
        price,
        batch.program.sign,
        found,
    )
    return found


def _whole(values: Any, shape: tuple[int, ...]) -> Array:
    return np.ascontiguousarray(np.broadcast_to(values, shape), dtype=np.float64)
