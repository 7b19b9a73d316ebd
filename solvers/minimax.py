"""The plan whose proved worst case is least: min over x and lambda of max over scores of F_w(x) - D_w(lambda).

With weights between two ends per layer the maximum separates and stands at the ends (method 5.6):

    Phi(x, lambda) = sum_k max_e [f_ke(x_k) - d_ke(lambda)] + sigma lambda R
    d_ke(lambda) = min_y f_ke(y) + sigma lambda r_k y,

jointly convex, for f is convex and d concave. For fixed lambda it is a separable program under one constraint, solved
by its multiplier nu; each layer by the sign of its derivative, which is monotone. All by bisection, to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize_scalar

from zetaplan.errors import SpecError
from zetaplan.spec.constants import reachable
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array, Instance

HALVINGS = 60
REACH = 2.0  # how far lambda is searched from where it starts, as a power of e either way


def minimax(instance: Instance, ends: Array, start: float) -> tuple[Array, float]:
    """x (K,) and lambda that minimise Phi; ends: (2, K) weights, start: the price that the search begins at.

    Raises SpecError for programs of several terms.
    """
    if len(instance.channels) > 1:
        raise SpecError(f"{instance.program.name}: a robust plan is found for programs of one term only")
    if start == 0.0:
        return _planned(instance, ends, 0.0)[0], 0.0
    found = minimize_scalar(
        lambda power: _planned(instance, ends, start * math.exp(power))[1],
        bounds=(-REACH, REACH),
        method="bounded",
        options={"xatol": 1e-3},
    )
    price = start * math.exp(float(found.x))
    return _planned(instance, ends, price)[0], price


def _planned(instance: Instance, ends: Array, price: float) -> tuple[Array, float]:
    """The best plan at one lambda, and Phi there."""
    (derivation,), (given,), scalars = derive(instance.program), instance.channels, instance.scalars
    sign, (top,) = instance.program.sign, reachable(instance)
    use = given.term.usage * given.data

    def value(x: Array, w: Array) -> Array:
        return np.asarray(derivation.objective(x, 0.0, w, given.data, *scalars))

    def least(w: Array) -> Array:
        y = derivation.stationary(price, given._replace(weight=w), scalars)
        return value(y, w) + sign * price * use * y

    dual = [least(w) for w in ends]

    def at(nu: float) -> Array:
        low, high = given.lower.copy(), top.copy()
        for _ in range(HALVINGS):
            x = (low + high) / 2
            pieces = [value(x, w) - d for w, d in zip(ends, dual, strict=True)]
            slopes = [np.asarray(derivation.gradient(x, 0.0, w, given.data, *scalars)) for w in ends]
            rising = np.where(pieces[0] >= pieces[1], *slopes) + sign * nu * use > 0
            low, high = np.where(rising, low, x), np.where(rising, x, high)
        return low if sign > 0 else high  # the side that keeps the limit

    x = at(_multiplier(lambda nu: sign * (float(use @ at(nu)) - instance.limit)))
    worst = np.maximum(*(value(x, w) - d for w, d in zip(ends, dual, strict=True)))
    return x, float(worst.sum()) + sign * price * instance.limit


def _multiplier(excess: Callable[[float], float]) -> float:
    """The least nu >= 0, to rounding, at which the excess of the constraint is not positive."""
    if excess(0.0) <= 0.0:
        return 0.0
    low, high = 0.0, 1e-12
    while excess(high) > 0.0:
        low, high = high, 4.0 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0.0 else (low, middle)
    return high
