"""The Lagrangian of a program at weights of any shape, with a bound on the rounding of its sums."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import EPSILON, Array, Instance


class Side(NamedTuple):
    """values : f + sigma lambda r of every decision. size : sum of |terms|. used : sigma r. Arrays as the weights."""

    values: Array
    size: float
    used: Array


def lagrangian(instance: Instance, rows: Array, multiplier: float, x: Array | None) -> Side:
    """The Lagrangian at weights (..., T, K) and a plan (..., T, K); default, the plan that minimises it."""
    values, used, size, scalars = np.empty_like(rows), np.empty_like(rows), 0.0, instance.scalars
    for t, (derivation, given) in enumerate(zip(derive(instance.program), instance.channels, strict=True)):
        w = rows[..., t, :]
        y = derivation.stationary(multiplier, given._replace(weight=w), scalars) if x is None else x[..., t, :]
        with np.errstate(invalid="ignore"):
            objective = derivation.objective(y, 0.0, w, given.unit_cost, *scalars)
            unweighted = derivation.objective(y, 0.0, 0.0, given.unit_cost, *scalars)
            used[..., t, :] = instance.program.sign * given.term.usage * given.unit_cost * y
            values[..., t, :] = objective + multiplier * used[..., t, :]
            parts = np.abs(objective - unweighted) + np.abs(unweighted) + np.abs(multiplier * used[..., t, :])
        size += float(np.sum(parts))
    return Side(values, size, used)


def rounding(instance: Instance) -> float:
    """Relative rounding error of a sum over all decisions, each with a power of a rounded score."""
    return EPSILON * (1.0 + max(exponents(instance))) * (instance.weight.size + 16)


def declared_price(instance: Instance) -> float:
    return max(float(derivation.declared_price_of(*instance.scalars)) for derivation in derive(instance.program))


def exponents(instance: Instance) -> list[float]:
    values = {scalar.symbol: instance.parameters[scalar.name] for scalar in instance.program.scalars}
    return [values[term.exponent] for term in instance.program.terms]
