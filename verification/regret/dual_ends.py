"""Dual-endpoint bound: an upper bound on the regret of a plan over a box of scores, evaluated at the ends of the box.

For a plan x, any multiplier lambda >= 0 and weights w, weak duality bounds the regret R = F_w(x) - F*_w by the gap

    F_w(x) - D_w(lambda) = sum_k gap_k(w_k) + spare,    gap_k = L_k(x_k) - min_y L_k(y) >= 0,

with spare = lambda times the unused part of the limit. F is linear in w_k and D is concave, so the gap is convex in
every w_k. With a divisor and sizes that are concave in every w_k, and any mu >= 0,

    gap - t divisor + mu (1 - sum of sizes) <= 0

holds on the whole box if it holds at its ends, and gives R <= t divisor where the sizes sum to at most 1. (mu may
have any sign if the sizes are linear and sum to 1.) The least such t is the largest quotient of two separable sums
under one constraint (see `quotient`). `boxes` defines divisor and sizes of a box of scores. For a bound relative to the
optimum the divisor is |D_w(lambda)|: R <= t |F*|, with F* < 0 while t <= 1.

Every multiplier gives a bound, and the bound is quasiconvex in the multiplier, so bisection finds the best one. One
multiplier for a whole box is loose if a single layer changes the optimal multiplier. So the box is halved at the layer
that adds most to the bound, and each half has its own multiplier. No solver is imported here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from zetaplan.errors import SpecError
from zetaplan.spec.instance import Array, Instance
from zetaplan.verification.regret.boxes import Box
from zetaplan.verification.regret.lagrangian import Paid, declared_price, lagrangian, paid, rounding
from zetaplan.verification.regret.quotient import Chances, largest_quotient, mixed

BRANCHES = 2  # number of times that a box is halved
REACH = 32.0  # largest change of the multiplier, as a power of e in either direction
STEP = 0.125  # first step; steps double until the bound rises again
HALVINGS = 12  # of the last step
TIED = 1e-9  # layers whose contributions differ by less, relatively, are equal up to rounding


class Proved(NamedTuple):
    """R <= value times the divisor on the whole box. layers : (T, K) contributions. multiplier : the one used."""

    value: float
    layers: Array
    multiplier: float


def dual_ends(
    instance: Instance, boxes: list[Box], x: Array, multiplier: float, *, towards: int = 0, refine: bool = True
) -> Proved:
    """The least t proved for all boxes; infinite if none is.

    x : the plan. multiplier : start of the search for a better one; negative values count as 0. towards : sign of the
    best objective if |D| is the divisor, else 0. refine : False to use the given multiplier and to halve no box.
    """
    if np.shape(x) != instance.weight.shape:
        raise SpecError(f"solution.x has shape {np.shape(x)}, the instance has {instance.weight.shape}")
    multiplier = max(multiplier, 0.0)
    rough = [_evaluated(instance, box, _kept(instance, box, x), multiplier, towards)[0] for box in boxes]
    first, *others = sorted(zip(rough, boxes, strict=True), key=lambda pair: -pair[0].value)
    if not refine:
        return first[0]
    worst = _branched(instance, first[1], x, multiplier, towards, BRANCHES)
    for found, box in others:
        if found.value > worst.value:
            worst = max(worst, _branched(instance, box, x, multiplier, towards, BRANCHES), key=_value)
    return worst


def _branched(instance: Instance, box: Box, x: Array, multiplier: float, towards: int, branches: int) -> Proved:
    """The smaller one of the bound for the whole box and the larger bound of its halves."""
    whole = _tightest(instance, box, x, multiplier, towards)
    adds = whole.layers.sum(axis=0) if box.tied else whole.layers.ravel()
    if branches == 0 or not adds.any():
        return whole
    column = int(np.argmax(adds >= (1.0 - TIED) * adds.max()))  # the first, so that rounding does not choose
    halves = (_branched(instance, half, x, whole.multiplier, towards, branches - 1) for half in box.halves(column))
    return min(whole, max(halves, key=_value), key=_value)


def _value(proved: Proved) -> float:
    return proved.value


def _tightest(instance: Instance, box: Box, x: Array, multiplier: float, towards: int) -> Proved:
    """The best bound of those evaluated in the search for the best multiplier."""
    declared, kept = declared_price(instance), _kept(instance, box, x)
    unit, tried = multiplier + declared or 1.0, [_evaluated(instance, box, kept, multiplier, towards)]

    def rises(power: float) -> bool:
        tried.append(_evaluated(instance, box, kept, max(unit * math.exp(power) - declared, 0.0), towards))
        return tried[-1][1]

    step = -STEP if rises(0.0) else STEP
    near, far = 0.0, step
    while rises(far) == (step < 0.0) and abs(far) < REACH:
        near, far, step = far, far + 2.0 * step, 2.0 * step
    low, high = min(near, far), max(near, far)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if rises(middle) else (middle, high)
    return min((found for found, _ in tried), key=_value)


def _kept(instance: Instance, box: Box, x: Array) -> Paid:
    """What the plan pays at the ends of a box."""
    return paid(instance, box.weights, np.reshape(x, box.weights.shape[1:]))


def _evaluated(instance: Instance, box: Box, kept: Paid, multiplier: float, towards: int) -> tuple[Proved, bool]:
    """(bound, rises): the bound at one multiplier, rounded up, and whether it rises with the multiplier."""
    limit = instance.program.sign * instance.limit
    own, best = kept.at(multiplier), lagrangian(instance, box.weights, multiplier, None)
    gaps = np.maximum(own.values - best.values, 0.0)
    doubt = rounding(instance) * (own.size + best.size + multiplier * abs(limit))
    if not math.isfinite(doubt):  # at multiplier 0 an uncapped plan is infinite
        return Proved(math.inf, np.zeros_like(own.used[0]), multiplier), False
    parts, rest = box.parts, box.rest
    if towards:
        parts, rest = towards * box.columns(best.values), -towards * multiplier * limit
    least = float(parts.min(axis=0).sum()) + rest - (doubt if towards else 0.0)
    value, layers = math.inf, np.zeros_like(own.used[0])
    if not least > 0.0:
        chances: Chances = parts[1] < parts[0]
    else:
        spare = multiplier * (limit - float(own.used[0].sum()))
        value, left, chances, relax = largest_quotient(box.columns(gaps), parts, spare, rest, box.sizes, box.exact)
        value = max(value + (max(left, 0.0) + doubt + rounding(instance) * abs(relax)) / least, 0.0)
        layers = box.mean(gaps, chances) / (float(mixed(parts, chances).sum()) + rest)
    if towards < 0 and value > 1.0:
        value = math.inf
    return Proved(value, layers, multiplier), float(box.mean(best.used, chances).sum()) < limit
