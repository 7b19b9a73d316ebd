"""Requested, relaxed, rounded and achieved amounts of a plan, per layer and in total."""

from __future__ import annotations

import math

from zetaplan._records import Record, Whole, checked
from zetaplan.plans.plan import Plan


class Amounts(Record):
    """Amounts of one block or in total: requested (uniform plan), relaxed (optimum), rounded (whole units), achieved.

    Units per block: ranks (achieved: parameters) or shares removed (rounded: parameters). Units in total: for ranks,
    parameters (rounded: the sum of all ranks); for sparsity, shares of all parameters (rounded: parameters).
    """

    requested: float
    relaxed: float
    rounded: Whole
    achieved: float


def per_layer(plan: Plan) -> dict[str, Amounts]:
    """The four amounts of every layer by its name: in ranks (achieved: parameters), or in shares removed."""
    rounded = plan.rounded
    achieved = rounded.whole.achieved(rounded).tolist()
    uniform = plan.uniform
    columns = (plan.names, plan.solution.x.tolist(), rounded.units.tolist(), achieved)
    return {
        name: checked(Amounts, requested=uniform, relaxed=x, rounded=units, achieved=amount)
        for name, x, units, amount in zip(*columns, strict=True)
    }


def in_total(plan: Plan) -> Amounts:
    """The four amounts of the whole plan: in parameters, or in shares of all parameters."""
    instance = plan.instance
    whole = math.fsum(instance.resource) if plan.kind.whole.shares else 1.0
    return checked(
        Amounts,
        requested=instance.limit / whole,
        relaxed=math.fsum(instance.resource * plan.solution.x) / whole,
        rounded=sum(plan.rounded.units.tolist()),
        achieved=plan.rounded.used / whole,
    )


def shown(plan: Plan, amounts: Amounts, *, total: bool = False) -> tuple[str, str, str, str]:
    """The requested, relaxed, rounded and achieved amounts as text, each in its unit."""
    plain = "{:,.10g}".format  # parameters
    share = "{:.4f}".format  # shares and ranks
    inner = plain if total and not plan.kind.whole.shares else share
    outer = share if plan.kind.whole.shares else plain
    return inner(amounts.requested), inner(amounts.relaxed), f"{amounts.rounded:,}", outer(amounts.achieved)
