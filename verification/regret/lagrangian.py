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


class Paid(NamedTuple):
    """What no multiplier changes: f of every decision, the sum of its |terms|, and sigma r. Arrays as the weights."""

    objective: Array
    size: Array
    used: Array

    def at(self, multiplier: float) -> Side:
        """The Lagrangian at a multiplier."""
        with np.errstate(invalid="ignore"):
            price = multiplier * self.used
            parts = self.size + np.abs(price)
            size = sum(float(np.sum(parts[..., t, :])) for t in range(parts.shape[-2]))
            return Side(self.objective + price, size, self.used)


def lagrangian(instance: Instance, rows: Array, multiplier: float, x: Array | None) -> Side:
    """The Lagrangian at weights (..., T, K) and a plan (..., T, K); default, the plan that minimises it."""
    return paid(instance, rows, _cheapest(instance, rows, multiplier) if x is None else x).at(multiplier)


def paid(instance: Instance, rows: Array, x: Array) -> Paid:
    """What a plan (..., T, K) pays at weights (..., T, K) besides the price of the limit."""
    found, scalars = Paid(*(np.empty_like(rows) for _ in Paid._fields)), instance.scalars
    for t, (derivation, given) in enumerate(zip(derive(instance.program), instance.channels, strict=True)):
        w, y = rows[..., t, :], x[..., t, :]
        with np.errstate(invalid="ignore"):
            objective = derivation.objective(y, 0.0, w, given.unit_cost, *scalars)
            unweighted = derivation.objective(y, 0.0, 0.0, given.unit_cost, *scalars)
            found.objective[..., t, :] = objective
            found.size[..., t, :] = np.abs(objective - unweighted) + np.abs(unweighted)
            found.used[..., t, :] = instance.program.sign * given.term.usage * given.unit_cost * y
    return found


def _cheapest(instance: Instance, rows: Array, multiplier: float) -> Array:
    """The plan that minimises the Lagrangian at weights (..., T, K)."""
    pairs = zip(derive(instance.program), instance.channels, strict=True)
    plans = [
        derivation.stationary(multiplier, given._replace(weight=rows[..., t, :]), instance.scalars)
        for t, (derivation, given) in enumerate(pairs)
    ]
    return np.stack(plans, axis=-2)


def rounding(instance: Instance) -> float:
    """Relative rounding error of a sum over all decisions, each with a power of a rounded score."""
    return EPSILON * (1.0 + max(exponents(instance))) * (instance.weight.size + 16)


def declared_price(instance: Instance) -> float:
    return max(float(derivation.declared_price_of(*instance.scalars)) for derivation in derive(instance.program))


def exponents(instance: Instance) -> list[float]:
    values = {scalar.symbol: instance.parameters[scalar.name] for scalar in instance.program.scalars}
    return [values[term.exponent] for term in instance.program.terms]
