"""A third truth: every declared program solved in 80 decimal digits, by bisection on the logarithm of the total price.

The stationary points are written out by hand, program by program; no derivation, no double, no code of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

from zetaplan.spec.instance import Channel, Instance

DIGITS = 80
PRICES = (-20_000, 20_000)  # natural logarithms of the least and the largest total price
STEPS = 260

Real = Any  # mpmath's numbers have no types

#: x at the total price pi, from the weight, the datum and the knobs.
STATIONARY: dict[str, Callable[[Real, Real, Real, dict[str, Real]], Real]] = {
    "m, allocation": lambda pi, w, c, s: s["gamma"] * w / (c * pi) - 1,
    "m, joint": lambda pi, w, c, s: s["gamma"] * w / (c * pi) - 1,
    "m, exponential_allocation": lambda pi, w, c, s: mp.log(s["gamma"] * w / (c * pi)),
    "m, power_allocation": lambda pi, w, c, s: (s["gamma"] * s["p"] * w / (c * pi)) ** (1 / (1 - s["p"])),
    "b, precision": lambda pi, w, n, s: mp.log(w * mp.log(4) / (n * pi)) / mp.log(4),
    "rho, pruning": lambda pi, w, n, s: n * pi / (2 * s["eta"] * w),
    "rho, joint": lambda pi, v, n, s: n * pi / (2 * s["eta"] * v),
    "rho, power_pruning": lambda pi, w, n, s: (n * pi / (s["eta"] * s["p"] * w)) ** (1 / (s["p"] - 1)),
    "rho, barrier_pruning": lambda pi, w, n, s: 1 - s["eta"] * w / (n * pi),
}

#: f(x) without the declared price of the resource.
LOSS: dict[str, Callable[[Real, Real, dict[str, Real]], Real]] = {
    "m, allocation": lambda x, w, s: -s["gamma"] * w * mp.log1p(x),
    "m, joint": lambda x, w, s: -s["gamma"] * w * mp.log1p(x),
    "m, exponential_allocation": lambda x, w, s: s["gamma"] * w * mp.expm1(-x),
    "m, power_allocation": lambda x, w, s: -s["gamma"] * w * x ** s["p"],
    "b, precision": lambda x, w, s: w * mp.mpf(4) ** -x,
    "rho, pruning": lambda x, w, s: s["eta"] * w * x**2,
    "rho, joint": lambda x, v, s: s["eta"] * v * x**2,
    "rho, power_pruning": lambda x, w, s: s["eta"] * w * x ** s["p"],
    "rho, barrier_pruning": lambda x, w, s: -s["eta"] * w * mp.log1p(-x),
}


class Truth(NamedTuple):
    """The optimum: x of the instance's shape as rows of mpmath numbers, the multiplier, and what the plan uses."""

    x: list[list[Real]]
    multiplier: Real
    objective: Real


def solved(instance: Instance) -> Truth:
    """The optimum; the least multiplier but for 80 digits."""
    with mp.workdps(DIGITS):
        declared = _declared(instance)
        excess = lambda pi: instance.program.sign * (_use(instance, plan(instance, pi)) - mp.mpf(instance.limit))  # noqa: E731
        if declared > 0 and excess(declared) <= 0:
            return _truth(instance, declared, mp.mpf(0))
        low, high = (mp.mpf(value) for value in PRICES)
        if declared == 0 and excess(mp.exp(low)) <= 0:
            return _truth(instance, mp.exp(low), mp.mpf(0))
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(mp.exp(middle)) > 0 else (low, middle)
        return _truth(instance, mp.exp(high), mp.exp(high) - declared)


def plan(instance: Instance, pi: Real) -> list[list[Real]]:
    """The minimiser of the Lagrangian at a total price above 0."""
    return [_row(instance, channel, pi) for channel in instance.channels]


def objective(instance: Instance, x: list[list[Real]]) -> Real:
    """F(x), the declared price of the resource included up to a constant."""
    knobs = _knobs(instance)
    loss = mp.mpf(0)
    for channel, row in zip(instance.channels, x, strict=True):
        name = _name(instance, channel)
        terms = zip(row, channel.weight.tolist(), strict=True)
        loss += mp.fsum(LOSS[name](value, mp.mpf(w), knobs) for value, w in terms if w > 0)
    return loss + instance.program.sign * _declared(instance) * _use(instance, x)


def numbers(x: np.ndarray) -> list[list[Real]]:
    """A plan in doubles, as rows of mpmath numbers."""
    return [[mp.mpf(value) for value in row] for row in np.atleast_2d(x).tolist()]


def rounded(instance: Instance, x: list[list[Real]]) -> np.ndarray:
    """The closest doubles inside the box."""
    values = np.array([[float(value) for value in row] for row in x]).reshape(instance.weight.shape)
    return np.clip(values, instance.lower, instance.upper)


def _truth(instance: Instance, pi: Real, multiplier: Real) -> Truth:
    x = plan(instance, pi)
    return Truth(x, multiplier, objective(instance, x))


def _row(instance: Instance, channel: Channel, pi: Real) -> list[Real]:
    spared = channel.lower if instance.program.costs(channel.term) else channel.upper
    stationary, knobs = STATIONARY[_name(instance, channel)], _knobs(instance)
    layers = zip(*(column.tolist() for column in (*channel[1:], spared)), strict=True)
    return [
        min(max(stationary(pi, mp.mpf(w), mp.mpf(d), knobs), mp.mpf(low)), mp.mpf(high)) if w > 0 else mp.mpf(spare)
        for w, d, low, high, spare in layers
    ]


def _use(instance: Instance, x: list[list[Real]]) -> Real:
    return mp.fsum(
        channel.term.usage * mp.mpf(datum) * value
        for channel, row in zip(instance.channels, x, strict=True)
        for datum, value in zip(channel.unit_cost.tolist(), row, strict=True)
    )


def _declared(instance: Instance) -> Real:
    return mp.mpf(instance.parameters.get("alpha", instance.parameters.get("bits", 0.0)))


def _knobs(instance: Instance) -> dict[str, Real]:
    return {name: mp.mpf(value) for name, value in instance.parameters.items()}


def _name(instance: Instance, channel: Channel) -> str:
    return f"{str(channel.term.decision).removesuffix('_k')}, {instance.program.name}"
