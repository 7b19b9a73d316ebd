"""Trials: comparison of one solution and its status with the optimum in fractions.

There are two measures of error. `error` is the usual max |dx| / max(1, max |x*|), which hides errors of layers that are
small next to the largest. `sharp` is relative to the scale of each layer,

    |dx_k| / (|slope_k u| + |offset_k|),

which is the rounding unit of its closed form (at least 1 + m_k for an allocation).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from flint import fmpq
from numpy.typing import NDArray

from zetaplan.solvers.rational import ExactOptimum, exact_optimum
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array, Instance
from zetaplan.spec.rational import fraction, fractions, total
from zetaplan.spec.solution import Solution, Status
from zetaplan.spec.summation import exact_dot
from zetaplan.verification.audit.planting import Planted

TOLERANCE = 1e-6  # largest error of a right solution
ROUNDING = 1e-12  # about four thousand roundings; the limit for methods that are right to rounding
OPTIMAL = (Status.BINDING, Status.SLACK)

Solver = Callable[[Instance], Solution]


@dataclass(frozen=True)
class Truth:
    """The optimum of an instance, rounded once to doubles, with the scales of the measures.

    x, scale : (K,). scale : |slope_k u| + |offset_k|, 0 for a layer without weight.
    decided : (K,) whether the optimal value of the layer is unique.
    side : (K,) -1 at the floor, +1 at the cap, 0 inside, from comparisons of fractions.
    multipliers : least and largest optimal multiplier.
    """

    instance: Instance
    x: Array
    scale: Array
    decided: NDArray[np.bool_]
    side: NDArray[np.int8]
    multipliers: tuple[float, float]
    declared_price: float


@dataclass(frozen=True)
class Verdict:
    """The measures of one solution.

    failure : reason for a missing solution, or "". optimal : whether the solver reports it as optimal.
    error, sharp : see above. dual : distance to the nearest optimal multiplier, relative to the total price there.
    violation : of limit and box, relative. sides : number of layers on a wrong side of a bound by more than
    TOLERANCE. misread : whether the status is binding for a slack constraint, or slack for a binding one.
    """

    failure: str
    seconds: float
    optimal: bool = False
    error: float = math.nan
    sharp: float = math.nan
    dual: float = math.nan
    violation: float = math.nan
    sides: int = 0
    misread: bool = False

    def wrong(self, strict: bool) -> bool:
        """Whether a solution reported as optimal has an error above TOLERANCE or, if strict, any above ROUNDING."""
        right = self.error <= TOLERANCE and not (strict and max(self.sharp, self.dual, self.violation) > ROUNDING)
        return self.optimal and not right


class TruthError(AssertionError):
    """The optimum in fractions differs from the planted one, so one of them is wrong."""


def truth(planted: Planted) -> Truth:
    """The optimum of a planted instance in fractions, compared with the planted one if that is known.

    Raises TruthError if the two differ.
    """
    instance = planted.instance
    best = exact_optimum(instance)
    channel, derivation = instance.channels[0], derive(instance.program)[0]
    declared_price = float(derivation.declared_price_of(*instance.scalars))
    x = np.array([float(value) for value in best.x])
    side = np.zeros(x.size, dtype=np.int8)
    side[list(best.floor)], side[list(best.cap)] = -1, 1
    free = best.multiplier == 0 and declared_price == 0.0
    decided = (channel.weight > 0.0) | (not free)
    _compare(planted, best.x, decided)
    with np.errstate(all="ignore"):
        u = derivation.level_at(float(best.multiplier), instance.scalars)
        slope, offset = derivation.line(channel, instance.scalars)
        scale = np.where(channel.weight > 0.0, np.abs(slope * u) + np.abs(offset), 0.0)
    least = float(best.multiplier)
    largest = least if best.interior or _left_over(instance, best) else _largest(instance, side, least)
    if (
        planted.multiplier is not None
        and not _within(float(planted.multiplier), (least, largest), declared_price) <= 1e-12
    ):
        raise TruthError(f"planted multiplier {planted.multiplier}, exact one from {least!r} to {largest!r}")
    return Truth(instance, x, scale, decided, side, (least, largest), declared_price)


def _compare(planted: Planted, x: tuple[Fraction, ...], decided: NDArray[np.bool_]) -> None:
    if planted.plan is None or planted.plan == x:
        return
    differ = [k for k in np.flatnonzero(decided).tolist() if planted.plan[k] != x[k]]
    if differ:
        k = differ[0]
        raise TruthError(
            f"layer {k}: planted {float(planted.plan[k])!r}, exact {float(x[k])!r}, of {len(differ)} layers"
        )


def _left_over(instance: Instance, best: ExactOptimum) -> bool:
    """Whether the constraint is slack; the multiplier is then 0 and unique."""
    if best.binding:
        return False
    x = [fmpq(value.numerator, value.denominator) for value in best.x]
    used = total([value * d for value, d in zip(x, fractions(instance.resource), strict=True)])
    return bool(used != fraction(instance.limit))


def _largest(instance: Instance, side: NDArray[np.int8], least: float) -> float:
    """The largest multiplier at which every layer stays at its bound, given the least one."""
    channel, derivation = instance.channels[0], derive(instance.program)[0]
    lower, upper = channel.lower, channel.upper
    movable = (channel.weight > 0.0) & (lower < upper)
    with np.errstate(all="ignore"):
        slope, offset = derivation.line(channel, instance.scalars)
        caps = ((upper - offset) / slope)[movable & (side == 1)]
        floors = ((lower - offset) / slope)[movable & (side == -1)]
        ends = np.array([caps.max(initial=0.0), floors.min(initial=np.inf)])
        found = derivation.multiplier_of(0.0, ends, 0.0, 0.0, *instance.scalars)
    return max(float(np.max(found)), least)


def judge(truth: Truth, solver: Solver) -> Verdict:
    """Run a solver and measure its solution; an exception counts as a failure."""
    start = time.perf_counter()
    try:
        solution = solver(truth.instance)
    except Exception as failure:  # every exception of a solver is counted as a failure
        return Verdict(f"{type(failure).__name__}: {failure}"[:300], time.perf_counter() - start)
    return measure(truth, solution, time.perf_counter() - start)


def measure(truth: Truth, solution: Solution, seconds: float = 0.0) -> Verdict:
    """The measures of a claimed optimum against the optimum in fractions."""
    x, optimal = np.asarray(solution.x, dtype=np.float64), solution.status in OPTIMAL
    if x.shape != truth.x.shape or not np.isfinite(x).all():
        return Verdict("the plan is not one finite number per layer", seconds, optimal)
    distance = np.where(truth.decided, np.abs(x - truth.x), 0.0)
    unit = np.maximum(1.0, np.abs(truth.x))
    with np.errstate(all="ignore"):
        sharp = np.where(distance > 0.0, distance / np.where(truth.scale > 0.0, truth.scale, unit), 0.0)
    largest = max(1.0, float(np.abs(truth.x[truth.decided]).max(initial=0.0)))
    wrong_side = (distance > TOLERANCE * unit) & (_side(truth.instance, x) != truth.side)
    return Verdict(
        failure="",
        seconds=seconds,
        optimal=optimal,
        error=float(distance.max()) / largest,
        sharp=float(sharp.max()),
        dual=_within(solution.multiplier, truth.multipliers, truth.declared_price),
        violation=_violation(truth, x),
        sides=int(wrong_side.sum()),
        misread=optimal and _misread(truth, solution),
    )


def _side(instance: Instance, x: Array) -> NDArray[np.int8]:
    unit = TOLERANCE * np.maximum(1.0, np.abs(x))
    side = np.where(x - instance.lower <= unit, -1, np.where(instance.upper - x <= unit, 1, 0))
    return side.astype(np.int8)


def _within(multiplier: float, interval: tuple[float, float], declared_price: float) -> float:
    """Distance to the interval, relative to the total price at its nearest end."""
    nearest = min(max(multiplier, interval[0]), interval[1])
    distance, total = abs(multiplier - nearest), nearest + declared_price
    if not distance:
        return 0.0
    return distance / total if total > 0.0 else distance


def _violation(truth: Truth, x: Array) -> float:
    instance = truth.instance
    channel, sign = instance.channels[0], instance.program.sign * instance.channels[0].term.usage
    excess = sign * exact_dot(np.append(channel.unit_cost, -channel.term.usage), np.append(x, instance.limit))
    volume = float((channel.unit_cost * np.maximum(np.abs(x), truth.scale)).sum()) + abs(instance.limit)
    outside = np.maximum(channel.lower - x, x - channel.upper) / np.maximum(1.0, np.abs(x))
    return max(excess / volume if volume > 0.0 else 0.0, float(outside.max()), 0.0)


def _misread(truth: Truth, solution: Solution) -> bool:
    """Whether the status is slack for a positive multiplier, or the multiplier positive for a slack constraint."""
    least, largest = truth.multipliers
    if solution.status is Status.SLACK:
        return least > TOLERANCE * (least + truth.declared_price)
    priced = solution.multiplier > TOLERANCE * (solution.multiplier + truth.declared_price)
    return priced and largest == 0.0 and abs(_room(truth)) > TOLERANCE


def _room(truth: Truth) -> float:
    instance = truth.instance
    use = exact_dot(instance.resource, truth.x)
    return (use - instance.limit) / max(abs(use), abs(instance.limit), np.finfo(np.float64).tiny)
