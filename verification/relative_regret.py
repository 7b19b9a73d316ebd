"""How much of the best objective a plan can lose while every gain stays inside an interval: proved from the ends.

For a plan x, any price lambda >= 0 and weights w, weak duality bounds the regret R = F_w(x) - F* by the gap

    F_w(x) - D_w(lambda) = sum_k gap_k(w_k) + spare,    gap_k = L_k(x_k) - min_y L_k(y) >= 0

with spare = lambda times what x leaves of the limit. With s the sign of F* and of D,  R <= t |F*|  follows from

    F_w(x) - (1 + s t) D_w(lambda) <= 0          (for s = -1, while t <= 1).

F is linear in w_k and D concave, so the left side is convex in every w_k and largest with each w_k at an end of its
interval. The least t that holds at all ends is the largest quotient of two separable sums: Dinkelbach's method (1967)
finds it in a few passes of O(K).

Where the resource has no price of its own, F is homogeneous in w, and R / |F*| stays the same when all gains are
scaled: gains need not be normalised. Where it has one, the shares count, and each q_k lies between
low_k / (low_k + sum of the other high) and high_k / (high_k + sum of the other low).

One price for the whole box is loose where a single layer moves it. But R - t |F*| itself is convex in w (t <= 1 for
s = -1), so only the corners count: the layer that adds most is held at either end in turn, each time with a price of
its own, and then another one. No solver is imported here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from zetaplan.errors import SpecError
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import EPSILON, Array, Arrayish, Instance, weights

STEPS = 50  # of Dinkelbach's method; five are usual, and what is left after the last is added to the bound
REACH = 1.0  # how far the price is moved in search of a tighter proof, as a power of e either way
BRANCHES = 2  # how many layers are held at either end in turn
UNPROVED = 1e300  # what the search sees instead of infinity


@dataclass(frozen=True, eq=False)
class RelativeRegret:
    """What a plan can lose over a box of gains, as a share of the best objective.

    share : regret <= share |best objective| for all gains in the box; infinite where nothing is proved.
    layers : (K,) what each layer adds to it at the worst ends, >= 0. multiplier : the price that proves it there.
    """

    share: float
    layers: Array
    multiplier: float

    def __str__(self) -> str:
        return f"regret is at most {self.share:.3g} of the best objective for all gains in the box"


def relative_regret(
    instance: Instance, x: Arrayish, multiplier: float, low: Arrayish, high: Arrayish
) -> RelativeRegret:
    """Bound the regret of a plan, as a share of the best objective, while every gain lies between low and high.

    x : (K,) the plan. multiplier : its price, >= 0; prices nearby are tried too, and every one gives a proof.
    low, high : (K,) 0 <= low <= high, in one unit, whatever it is.

    Raises SpecError for other shapes, for ends in the wrong order, and for programs of several terms.
    """
    if len(instance.program.terms) > 1:
        raise SpecError(f"{instance.program.name}: a relative regret is bounded for programs of one term only")
    plan = _vector("x", x, instance)
    ends = _ends(instance, _vector("low", low, instance), _vector("high", high, instance))
    return _branched(instance, ends, plan, multiplier, BRANCHES)


def _branched(instance: Instance, ends: Array, x: Array, price: float, branches: int) -> RelativeRegret:
    """The tightest of one proof for the whole box, and of two for its halves."""
    whole = _tightest(instance, ends, x, price)
    k = int(whole.layers.argmax())
    if branches == 0 or ends[0, k] == ends[1, k]:
        return whole
    halves = (_branched(instance, _held(ends, k, end), x, whole.multiplier, branches - 1) for end in (0, 1))
    return min(whole, max(halves, key=_share), key=_share)


def _share(found: RelativeRegret) -> float:
    return found.share


def _held(ends: Array, k: int, end: int) -> Array:
    held = ends.copy()
    held[:, k] = ends[end, k]
    return held


def _tightest(instance: Instance, ends: Array, x: Array, price: float) -> RelativeRegret:
    """The best bound that a price near the given one proves."""

    def bound(power: float) -> RelativeRegret:
        return _bound(instance, ends, x, price * math.exp(power))

    nearby = minimize_scalar(
        lambda power: min(bound(power).share, UNPROVED),
        bounds=(-REACH, REACH),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return min(bound(0.0), bound(float(nearby.x)), key=_share)


def _vector(name: str, values: Arrayish, instance: Instance) -> Array:
    vector = np.asarray(values, np.float64)
    if vector.shape != instance.weight.shape:
        raise SpecError(f"{name}: expected {instance.weight.size} numbers, one per layer, got shape {vector.shape}")
    if not (vector >= 0.0).all() or np.isinf(vector).any():
        k = int(np.flatnonzero(~(vector >= 0.0) | np.isinf(vector))[0])
        raise SpecError(f"{name}[{k}] = {vector[k]:g}: expected a finite number of at least 0")
    return vector


def _ends(instance: Instance, low: Array, high: Array) -> Array:
    """The weight of every layer at the lower and at the upper end of its quality, (2, K)."""
    if (low > high).any():
        k = int(np.flatnonzero(low > high)[0])
        raise SpecError(f"low[{k}] = {low[k]:g} is above high[{k}] = {high[k]:g}")
    if not high.any():
        raise SpecError("high: all zero, so no layer is better than another")
    (derivation,) = derive(instance.program)
    if derivation.declared_price_of(*instance.scalars) == 0.0:
        middle = 0.5 * float((low + high).sum())
        shares = low / middle, high / middle
    else:
        shares = _shares(low, high), _shares(high, low)
    return np.array([weights(instance.program, q, instance.parameters) for q in shares])


def _shares(own: Array, others: Array) -> Array:
    """own_k / (own_k + sum of the others but k): the extreme of a share, reached with the others at their other end."""
    total = own + np.maximum(others.sum() - others, 0.0)
    shares: Array = np.divide(own, total, out=np.zeros_like(own), where=total > 0.0)
    return shares


def _bound(instance: Instance, ends: Array, x: Array, price: float) -> RelativeRegret:
    """The bound that one price proves."""
    own = np.array([_lagrangian(instance, w, price, x) for w in ends])  # (2, K)
    best = np.array([_lagrangian(instance, w, price) for w in ends])
    limit = instance.program.sign * price * instance.limit
    (channel,) = instance.channels
    spare = limit - instance.program.sign * price * channel.term.usage * float(channel.data @ x)
    nominal = float(_lagrangian(instance, instance.weight, price).sum()) - limit
    sign = math.copysign(1.0, nominal)
    gap, size = np.maximum(own - best, 0.0), sign * best
    least = float(size.min(axis=0).sum()) - sign * limit  # of |D| over the box
    rounding = (x.size + 16) * EPSILON * float(np.abs(own).max(axis=0).sum() + np.abs(best).max(axis=0).sum() + limit)
    if not least > rounding:
        return RelativeRegret(math.inf, np.zeros_like(x), price)
    share, left, chosen = largest_quotient(gap, size, spare, -sign * limit)
    share += (max(left, 0.0) + rounding) / (least - rounding)
    if sign < 0 and share > 1.0:
        share = math.inf
    whole = float(np.take_along_axis(size, chosen, 0).sum()) - sign * limit
    return RelativeRegret(share, np.take_along_axis(gap, chosen, 0)[0] / whole, price)


def _lagrangian(instance: Instance, weight: Array, price: float, x: Array | None = None) -> Array:
    """f(x_k) + sigma lambda r(x_k) at these weights, (K,); the least that it can be where no plan is given."""
    (derivation,), (given,), scalars = derive(instance.program), instance.channels, instance.scalars
    channel = given._replace(weight=weight)
    plan = derivation.stationary(price, channel, scalars) if x is None else x
    objective = derivation.objective(plan, 0.0, weight, channel.data, *scalars)
    values: Array = objective + instance.program.sign * price * channel.term.usage * channel.data * plan
    return values


def largest_quotient(
    top: Array, bottom: Array, more_top: float, more_bottom: float
) -> tuple[float, float, NDArray[np.intp]]:
    """max over ends e of t = (sum_k top[e_k, k] + more_top) / (sum_k bottom[e_k, k] + more_bottom), the divisor > 0.

    Returns t, by how much some choice of ends still exceeds it (top - t bottom; 0 to rounding), and the ends (1, K).
    """
    t = left = 0.0
    ends = np.zeros((1, top.shape[1]), np.intp)
    for _ in range(STEPS):
        chosen = (top - t * bottom).argmax(axis=0)[None]
        above = float(np.take_along_axis(top, chosen, 0).sum()) + more_top
        below = float(np.take_along_axis(bottom, chosen, 0).sum()) + more_bottom
        left = above - t * below
        if above / below <= t:
            break
        t, ends = above / below, chosen
    return t, left, ends
