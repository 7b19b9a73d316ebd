"""One answer against the truth, one status against the facts.

Errors are measured twice. `error` is the common one, max |dx| / max(1, max |x*|): a layer whose share is small next
to the largest may be all wrong and not show. `sharp` holds every layer to its own scale,

    |dx_k| / (|slope_k u| + |offset_k|),

the rounding that evaluating the closed form itself must suffer (1 + m_k and more for an allocation).
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

TOLERANCE = 1e-6  # what a solver may be off and still be right; a plan resolves no more
ROUNDING = 1e-12  # some four thousand roundings: no error of a method that is exact up to rounding gets there
OPTIMAL = (Status.BINDING, Status.SLACK)

Solver = Callable[[Instance], Solution]


@dataclass(frozen=True)
class Truth:
    """The optimum of an instance, rounded once to doubles, and what answers are measured by.

    x, scale : (K,). scale : |slope_k u| + |offset_k|, 0 where a layer has no weight.
    decided : (K,) whether the layer has one optimal value only.
    side : (K,) -1 at the floor, +1 at the cap, 0 inside; decided by comparing rationals.
    multipliers : least and largest optimal multiplier. price : what the resource costs in the objective itself.
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
    """What one solver's answer is worth.

    failure : why there is no answer, or "". optimal : whether the solver says that it is.
    error, sharp : see above. dual : distance to the nearest optimal multiplier, relative to the total price there.
    violation : by how much limit or box is missed, relative. sides : layers on a wrong side of a bound by more than
    TOLERANCE. misread : the status says binding where the constraint is slack, or slack where it binds.
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
        """It says "optimal", and is not: off by more than TOLERANCE, or (strictly) by more than rounding anywhere."""
        right = self.error <= TOLERANCE and not (strict and max(self.sharp, self.dual, self.violation) > ROUNDING)
        return self.optimal and not right


class TruthError(AssertionError):
    """The exact optimum is not the planted one: a truth is wrong, and no solver can be judged."""


def truth(planted: Planted) -> Truth:
    """The exact optimum of a planted instance, checked against the planted one where that is known.

    Raises TruthError where the two differ.
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
    """Is the limit not used to the full? Then the multiplier is 0 and nothing else."""
    if best.binding:
        return False
    x = [fmpq(value.numerator, value.denominator) for value in best.x]
    used = total([value * d for value, d in zip(x, fractions(instance.resource), strict=True)])
    return bool(used != fraction(instance.limit))


def _largest(instance: Instance, side: NDArray[np.int8], least: float) -> float:
    """The largest multiplier at which every layer stays at its bound; the least one is given."""
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
    """Ask a solver and measure its answer; an exception is an answer too."""
    start = time.perf_counter()
    try:
        solution = solver(truth.instance)
    except Exception as failure:  # whatever a solver throws is counted, never passed on
        return Verdict(f"{type(failure).__name__}: {failure}"[:300], time.perf_counter() - start)
    return measure(truth, solution, time.perf_counter() - start)


def measure(truth: Truth, solution: Solution, seconds: float = 0.0) -> Verdict:
    """How far a claimed optimum is from the exact one."""
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
    """Called slack where the resource has a price, or given a price where it is left over."""
    least, largest = truth.multipliers
    if solution.status is Status.SLACK:
        return least > TOLERANCE * (least + truth.declared_price)
    priced = solution.multiplier > TOLERANCE * (solution.multiplier + truth.declared_price)
    return priced and largest == 0.0 and abs(_room(truth)) > TOLERANCE


def _room(truth: Truth) -> float:
    instance = truth.instance
    use = exact_dot(instance.resource, truth.x)
    return (use - instance.limit) / max(abs(use), abs(instance.limit), np.finfo(np.float64).tiny)
