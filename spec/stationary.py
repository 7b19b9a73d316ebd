"""The plan at a given multiplier, and what it uses of the resource: what every dual method evaluates."""

from __future__ import annotations

import numpy as np

from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array, Instance
from zetaplan.spec.summation import exact_dot


def plan_at(instance: Instance, multiplier: float) -> Array:
    """x(lambda), clipped to the box: shape of the instance's plan."""
    rows = [
        derivation.stationary(multiplier, channel, instance.scalars)
        for derivation, channel in zip(derive(instance.program), instance.channels, strict=True)
    ]
    return rows[0] if len(rows) == 1 else np.stack(rows)


def excess(instance: Instance, x: Array) -> float:
    """sigma (sum_k r(x_k) - R), its sign exact: positive where the coupling constraint is violated."""
    if not np.isfinite(x).all():
        return np.inf
    use = [channel.term.usage * channel.data for channel in instance.channels]
    return instance.program.sign * exact_dot(
        np.concatenate((*use, [-1.0])), np.concatenate((*instance.rows(x), [instance.limit]))
    )
