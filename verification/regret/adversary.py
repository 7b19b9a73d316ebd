"""Lower bound on the proved worst case of every plan, from one mixture of scores (proof `worst_case`).

Every decision has its weight at the higher end of its interval with some chance, else at the lower end. Bars are means
over the two ends. For any plan x within the limit and any multiplier lambda >= 0,

    max over ends of F_w(x) - D_w(lambda) - t divisor  >=  F_bar(x) - D_bar(lambda) - t divisor_bar,

    F_bar(x)       =  F at the mean weights, as F is linear in them,  >=  D(nu) there, for any nu >= 0
    D_bar(lambda)  <=  mean of f_e(y_e), for any answers y_e whose mean use keeps the limit.

So every t that one multiplier proves for a whole box is at least (D(nu) - mean f_e(y_e)) / divisor_bar, for every plan.
The bound holds for all chances, nu and y, which come from a solver. No solver is imported here.
"""

from __future__ import annotations

import numpy as np

from zetaplan.spec.instance import Array, Instance
from zetaplan.verification.regret.boxes import Box
from zetaplan.verification.regret.lagrangian import lagrangian, rounding
from zetaplan.verification.regret.quotient import mixed


def worst_case_floor(instance: Instance, box: Box, chances: Array, multiplier: float, answers: Array) -> float:
    """The lower bound, >= 0, rounded down; 0 if none is proved.

    box : each decision has its own ends. chances : (T, K) in [0, 1]. multiplier : nu >= 0. answers : y, (2, T, K),
    inside the box of the decisions; moved towards the bounds of least use until their mean keeps the limit.
    """
    shares = np.array([1.0 - chances, chances])
    kept = _kept(instance, shares, np.clip(answers, *_bounds(instance)))
    if kept is None or (shares < 0.0).any() or multiplier < 0.0:
        return 0.0
    dual = lagrangian(instance, mixed(box.weights, chances), multiplier, None)
    paid = lagrangian(instance, box.weights, 0.0, kept)
    limit = multiplier * instance.program.sign * instance.limit
    proved = float(dual.values.sum()) - limit - float(mixed(paid.values, chances).sum())
    size = dual.size + abs(limit) + paid.size
    divisor = float(mixed(box.parts.reshape(box.weights.shape), chances).sum()) + box.rest
    return max(proved - rounding(instance) * size, 0.0) / divisor


def _bounds(instance: Instance) -> tuple[Array, Array]:
    return np.array([c.lower for c in instance.channels]), np.array([c.upper for c in instance.channels])


def _kept(instance: Instance, shares: Array, answers: Array) -> Array | None:
    """Answers whose mean use keeps the limit with a margin for rounding; None if there are none."""
    sign, (lower, upper) = instance.program.sign, _bounds(instance)
    costs = np.array([instance.program.costs(term) for term in instance.program.terms])[:, None]
    spared = np.where(costs, lower, upper)
    use = sign * np.array([c.term.usage * c.unit_cost for c in instance.channels])
    room = sign * instance.limit - float((use * spared).sum())
    over = float((shares * use * answers).sum()) - sign * instance.limit
    over += rounding(instance) * (float(np.abs(shares * use * answers).sum()) + abs(instance.limit))
    if not (np.isfinite(over) and room > 0.0 and over <= room):
        return None
    kept: Array = answers + max(over, 0.0) / (over + room) * (spared - answers) if over > 0.0 else answers
    return kept
