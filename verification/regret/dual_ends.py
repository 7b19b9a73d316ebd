"""What a plan can lose while the scores stay in a box: proved at the ends of the box, without a solver.

For a plan x, any price lambda >= 0 and weights w, weak duality bounds the regret R = F_w(x) - F*_w by the gap

    F_w(x) - D_w(lambda) = sum_k gap_k(w_k) + spare,    gap_k = L_k(x_k) - min_y L_k(y) >= 0,

with spare = lambda times what x leaves of the limit. F is linear in w_k and D is concave, so the gap is convex in every
w_k. With a divisor and sizes that are concave in every w_k, and any mu >= 0,

    gap - t divisor + mu (1 - sum of sizes) <= 0

holds all over the box once it holds at its ends, and gives R <= t divisor where the sizes sum to at most 1. (Any mu
will do for sizes that are linear and sum to exactly 1.) The least such t is the largest quotient of two separable sums
under one constraint: Dinkelbach's method (1967) finds it in a few passes, each of which chooses the ends by what they
bring for their size.

    relative       the divisor is |D_w(lambda)|: R <= t |F*|, with F* < 0 while t <= 1.
    gains          where F is homogeneous of degree e in them (the resource has no price of its own, all terms have one
                   exponent), R at the shares is R at the gains over s^e, with s their sum in a unit that makes it about
                   1, and a relative R is the same. s^e >= 1 + e (s - 1) for e >= 1; for e < 1 it is at least
                   sum c_k^(1-e) w_k, with c the middle of the box in shares (Hoelder).
    shares         the sizes are the shares for e >= 1, else c_k^(1-e) w_k as above.
    other gains    the interval of s is cut into pieces; gains over s are in a box of shares for each.

A share of gains lies between low_k / (low_k + sum of the other high) and the reverse, and leaves no less than 0 to the
others. Every price proves something, and as a function of the price the bound is quasiconvex: the best one is found by
halving. One price for a whole box is loose where a single layer moves it: the box is halved where most is added, and
each half has a price of its own. No solver is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from zetaplan.errors import SpecError, shown
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import EPSILON, Array, Arrayish, Instance, weights

BRANCHES = 2  # how often a box is halved
REACH = 32.0  # how far the price is moved, as a power of e either way
STEP = 0.125  # the first of the steps, which double until the bound rises again
HALVINGS = 12  # of the last step
PIECES = 16  # of the interval of the sum of the gains, where gains cannot stand for shares
UNITS = 65  # that are tried for gains
TINY = 1e-30  # a sum that stands for none
WIDEST = 1e3  # that it may be, from its lower to its higher end
STEPS = 50  # of Dinkelbach's method; five are usual, and what is left after the last is added to the bound


class Box(NamedTuple):
    """Weights between two ends. The divisor is the sum of parts + rest; sizes sum to at most 1, to 1 if `exact`.

    weights : (2, T, K). tied : all terms of a layer stand at the same end; else every decision has ends of its own.
    parts, sizes : (2, C), with C = K columns if tied, else TK.
    """

    weights: Array
    tied: bool
    parts: Array
    rest: float
    sizes: Array
    exact: bool = False

    @property
    def least(self) -> float:
        """Of the divisor."""
        return float(self.parts.min(axis=0).sum()) + self.rest

    def columns(self, values: Array) -> Array:
        """(2, T, K) by what stands at either end as one."""
        return values.sum(axis=1) if self.tied else values.reshape(2, -1)

    def mean(self, values: Array, chances: Array) -> Array:
        """(2, T, K) where the columns stand at the higher end with some chance, (C,): (T, K)."""
        return mixed(values, chances if self.tied else chances.reshape(values.shape[1:]))

    def halves(self, column: int) -> Iterator[Box]:
        """Two boxes that are enough for this one: with a column at either end; of shares, on either side of its middle.

        R - t divisor is convex in every weight: only corners count. On the simplex one share can be between its ends.
        Both are proved in `boxes`.
        """
        entry = (slice(None), column) if self.tied else np.unravel_index(column, self.weights.shape[1:])
        for end in (0, 1):
            half = self._replace(weights=self.weights.copy(), parts=self.parts.copy(), sizes=self.sizes.copy())
            for values, place in ((half.weights, entry), (half.parts, (column,)), (half.sizes, (column,))):
                ends = values[(slice(None), *place)]
                ends[1 - end] = ends.mean(axis=0) if self.sizes.any() else ends[end]
            yield half


class Proved(NamedTuple):
    """R <= value times the divisor all over the box. layers : (T, K) what each adds. price : that proves it."""

    value: float
    layers: Array
    price: float


def regret_boxes(instance: Instance, low: Arrayish, high: Arrayish, normalised: bool) -> list[Box]:
    """What a bound on the regret itself has to cover. low, high : (K,) gains, or shares if `normalised`."""
    shares = quality_ends(instance, low, high, normalised)
    if not normalised and _scalable(instance):
        gains = _divided(instance, _in_unit(instance, low, high))
        if gains.least > 0.0:
            return [gains]
    return [_sized(instance, ends) for ends in ([shares] if normalised else _pieces(low, high, shares))]


def relative_boxes(instance: Instance, low: Arrayish, high: Arrayish) -> list[Box]:
    """What a bound relative to the best objective has to cover. low, high : (K,) gains."""
    shares = quality_ends(instance, low, high, False)
    if _scalable(instance):
        return [_plain(instance, _in_unit(instance, low, high))]
    return [_sized(instance, ends) for ends in _pieces(low, high, shares)]


def decision_box(instance: Instance, low: Arrayish, high: Arrayish, normalised: bool) -> Box:
    """One box that covers it, with ends of its own for every decision and no sizes."""
    shares = quality_ends(instance, low, high, normalised)
    box = _divided(instance, _in_unit(instance, low, high) if not normalised and _scalable(instance) else shares)
    return box if len(instance.program.terms) == 1 and box.least > 0.0 else _plain(instance, shares, tied=False)


def quality_ends(instance: Instance, low: Arrayish, high: Arrayish, normalised: bool) -> Array:
    """The lowest and the highest share of every layer, (2, K). Raises SpecError for a box that is none."""
    if normalised is not False and normalised is not True:
        raise SpecError(f"normalised = {shown(normalised)}: expected True or False")
    below, above = vector("low", low, instance), vector("high", high, instance)
    if (below > above).any():
        k = int(np.flatnonzero(below > above)[0])
        raise SpecError(f"low[{k}] = {below[k]:g} is above high[{k}] = {above[k]:g}; exchange them")
    if not above.any():
        raise SpecError("high: all zero, so no layer is better than another; give a box around measured gains")
    if not normalised:
        return _on_the_simplex(_shares(below, above))
    doubt = _simplex_doubt(above)
    if below.sum() > 1.0 + doubt or above.sum() < 1.0 - doubt:
        raise SpecError(
            f"low, high: no shares in this box sum to 1, only to between {below.sum():.3g} and {above.sum():.3g}; "
            "for a box of gains leave out normalised=True"
        )
    return _on_the_simplex(np.array([below, above]))


def dual_ends(
    instance: Instance, boxes: list[Box], x: Array, price: float, *, towards: int = 0, refine: bool = True
) -> Proved:
    """The least t that is proved for all boxes; infinite where nothing is.

    x : the plan. price : where the search for a better one starts; below 0 it counts as 0. towards : the sign of the
    best objective if |D| is the divisor, else 0. refine : False for the price as it is and every box at once.
    """
    if np.shape(x) != instance.weight.shape:
        raise SpecError(f"solution.x has shape {np.shape(x)}, the instance has {instance.weight.shape}")
    price = max(price, 0.0)
    rough = [_evaluated(instance, box, x, price, towards)[0] for box in boxes]
    first, *others = sorted(zip(rough, boxes, strict=True), key=lambda pair: -pair[0].value)
    if not refine:
        return first[0]
    worst = _branched(instance, first[1], x, price, towards, BRANCHES)
    for found, box in others:
        if found.value > worst.value:
            worst = max(worst, _branched(instance, box, x, price, towards, BRANCHES), key=_value)
    return worst


def vector(name: str, values: Arrayish, instance: Instance) -> Array:
    """One number >= 0 per layer. Raises SpecError for anything else."""
    try:
        found = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor that requires a gradient
        raise SpecError(f"{name} = {shown(values)}: expected numbers") from None
    if found.shape != instance.quality.shape:
        raise SpecError(f"{name}: expected {instance.quality.size} numbers, one per layer, got shape {found.shape}")
    wrong = ~(np.isfinite(found) & (found >= 0.0))
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise SpecError(f"{name}[{k}] = {found[k]:g}: expected a finite number of at least 0")
    return found


class Quotient(NamedTuple):
    """t, by how much the sums may still exceed it (top - t bottom), chances : (C,) of the higher ends, price : mu."""

    value: float
    left: float
    chances: Array
    price: float


def largest_quotient(
    top: Array, bottom: Array, more_top: float, more_bottom: float, sizes: Array, exact: bool = False
) -> Quotient:
    """max over ends e of t = (sum_k top[e_k, k] + more_top) / (sum_k bottom[e_k, k] + more_bottom), the divisor > 0.

    top, bottom, sizes : (2, C). Where sizes[e_k, k] sum to more than 1 (if `exact`, to less), one end counts in part.
    """
    t = 0.0
    for _ in range(STEPS):
        values = top - t * bottom
        chances, price = _chosen(values, sizes, exact)
        above, below = (
            float(mixed(ends, chances).sum()) + more for ends, more in ((top, more_top), (bottom, more_bottom))
        )
        left = float((values - price * sizes).max(axis=0).sum()) + price + more_top - t * more_bottom
        if above / below <= t:
            break
        t = above / below
    return Quotient(t, left, chances, price)


def mixed(ends: Array, chances: Array) -> Array:
    """The mean of the lower and the higher end, (2, ...), where the higher has some chance."""
    found: Array = (1.0 - chances) * ends[0] + chances * ends[1]
    return found


def _chosen(values: Array, sizes: Array, exact: bool) -> tuple[Array, float]:
    """The chances of the higher ends that make the sum largest while the sizes sum to 1, and the price of a size.

    What brings most for its size comes first; the last one counts in part.
    """
    rise, room = values[1] - values[0], sizes[1] - sizes[0]
    chances = (rise > 0.0).astype(np.float64)
    fits = np.flatnonzero((room > 0.0) & ((rise > 0.0) | exact))
    worth = rise[fits] / room[fits]
    order = np.argsort(-worth, kind="stable")
    spent = float(sizes[0].sum()) + np.cumsum(room[fits][order])
    first = int(np.searchsorted(spent, 1.0, side="right"))  # the first for which there is not room enough
    if first == fits.size:
        return chances, 0.0
    last = fits[order[first]]
    chances[fits[order]] = np.arange(fits.size) < first
    chances[last] = min(max(1.0 - (spent[first] - 1.0) / room[last], 0.0), 1.0)
    return chances, float(worth[order[first]])


def _branched(instance: Instance, box: Box, x: Array, price: float, towards: int, branches: int) -> Proved:
    """The least of one proof for the whole box, and of two for its halves."""
    whole = _tightest(instance, box, x, price, towards)
    adds = whole.layers.sum(axis=0) if box.tied else whole.layers.ravel()
    column = int(adds.argmax())
    if branches == 0 or adds[column] == 0.0:
        return whole
    halves = (_branched(instance, half, x, whole.price, towards, branches - 1) for half in box.halves(column))
    return min(whole, max(halves, key=_value), key=_value)


def _value(proved: Proved) -> float:
    return proved.value


def _tightest(instance: Instance, box: Box, x: Array, price: float, towards: int) -> Proved:
    """The best of the bounds that are met on the way to the best price."""
    declared = _declared_price(instance)
    unit, tried = price + declared or 1.0, [_evaluated(instance, box, x, price, towards)]

    def rises(power: float) -> bool:
        tried.append(_evaluated(instance, box, x, max(unit * math.exp(power) - declared, 0.0), towards))
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


def _evaluated(instance: Instance, box: Box, x: Array, price: float, towards: int) -> tuple[Proved, bool]:
    """What one price proves, rounded up, and whether a larger price proves less."""
    plan, limit = np.reshape(x, box.weights.shape[1:]), instance.program.sign * instance.limit
    own, best = (lagrangian(instance, box.weights, price, y) for y in (plan, None))
    gaps = np.maximum(own.values - best.values, 0.0)
    doubt = rounding(instance) * (own.size + best.size + price * abs(limit))
    if not math.isfinite(doubt):  # without a price a plan without cap has no end
        return Proved(math.inf, np.zeros_like(plan), price), False
    parts, rest = box.parts, box.rest
    if towards:
        parts, rest = towards * box.columns(best.values), -towards * price * limit
    least = float(parts.min(axis=0).sum()) + rest - (doubt if towards else 0.0)
    value, chances, layers = math.inf, parts.argmin(axis=0), np.zeros_like(plan)
    if least > 0.0:
        spare = price * (limit - float(own.used[0].sum()))
        value, left, chances, size_price = largest_quotient(box.columns(gaps), parts, spare, rest, box.sizes, box.exact)
        value = max(value + (max(left, 0.0) + doubt + rounding(instance) * abs(size_price)) / least, 0.0)
        layers = box.mean(gaps, chances) / (float(mixed(parts, chances).sum()) + rest)
    if towards < 0 and value > 1.0:
        value = math.inf
    return Proved(value, layers, price), float(box.mean(best.used, chances).sum()) < limit


class Side(NamedTuple):
    """f + sigma lambda r of every decision, the size of all that was added up, and sigma r; arrays as the weights."""

    values: Array
    size: float
    used: Array


def lagrangian(instance: Instance, rows: Array, price: float, x: Array | None) -> Side:
    """At weights (..., T, K) and a plan (..., T, K); where none is given, at the one that makes it least."""
    values, used, size, scalars = np.empty_like(rows), np.empty_like(rows), 0.0, instance.scalars
    for t, (derivation, given) in enumerate(zip(derive(instance.program), instance.channels, strict=True)):
        w = rows[..., t, :]
        y = derivation.stationary(price, given._replace(weight=w), scalars) if x is None else x[..., t, :]
        with np.errstate(invalid="ignore"):
            objective = derivation.objective(y, 0.0, w, given.data, *scalars)
            unweighted = derivation.objective(y, 0.0, 0.0, given.data, *scalars)
            used[..., t, :] = instance.program.sign * given.term.usage * given.data * y
            values[..., t, :] = objective + price * used[..., t, :]
            parts = np.abs(objective - unweighted) + np.abs(unweighted) + np.abs(price * used[..., t, :])
        size += float(np.sum(parts))
    return Side(values, size, used)


def rounding(instance: Instance) -> float:
    """Of a sum over all decisions, with a power of a rounded score in each, relative to the size of what is summed."""
    return EPSILON * (1.0 + max(_exponents(instance))) * (instance.weight.size + 16)


def _declared_price(instance: Instance) -> float:
    return max(float(derivation.declared_price_of(*instance.scalars)) for derivation in derive(instance.program))


def _exponents(instance: Instance) -> list[float]:
    values = {scalar.symbol: instance.parameters[scalar.name] for scalar in instance.program.scalars}
    return [values[term.exponent] for term in instance.program.terms]


def _scalable(instance: Instance) -> bool:
    """Is F homogeneous in the gains? Not where the resource has a price of its own, or exponents differ."""
    return _declared_price(instance) == 0.0 and len(set(_exponents(instance))) == 1


def _plain(instance: Instance, ends: Array, tied: bool = True) -> Box:
    """The regret as it is, and no sizes. ends : (2, K) of the scores."""
    layers, terms = ends.shape[1], len(instance.program.terms)
    rows = np.reshape([weights(instance.program, q, instance.parameters) for q in ends], (2, terms, layers))
    nothing = np.zeros((2, layers if tied else terms * layers))
    return Box(rows, tied, nothing, 1.0, nothing)


def _divided(instance: Instance, ends: Array) -> Box:
    """The regret over what is at most s^e; of use where all terms have one exponent and the divisor is above 0."""
    box, (exponent, *_) = _plain(instance, ends), _exponents(instance)
    if exponent < 1.0:
        return box._replace(parts=_sizes(ends, exponent), rest=0.0)
    return box._replace(parts=exponent * ends, rest=1.0 - exponent)


def _sized(instance: Instance, ends: Array) -> Box:
    """The regret at shares, which sum to 1. Under different exponents every decision has ends of its own."""
    exponents = _exponents(instance)
    tied = len(set(exponents)) == 1
    rows = [_sizes(ends, exponent) / len(exponents) for exponent in exponents]
    sizes = len(rows) * rows[0] if tied else np.concatenate(rows, axis=1)
    return _plain(instance, ends, tied)._replace(sizes=sizes, exact=set(exponents) == {1.0})


def _sizes(ends: Array, exponent: float) -> Array:
    """Concave in w = q^e, and with a sum of at most s^min(e, 1): the shares, or c^(1-e) w."""
    if exponent >= 1.0:
        return ends
    middle = ends.mean(axis=0)
    sizes: Array = (middle / middle.sum()) ** (1.0 - exponent) * ends**exponent
    return sizes


def _pieces(low: Arrayish, high: Arrayish, shares: Array) -> list[Array]:
    """Boxes of shares that together hold all that the gains allow: each for sums of the gains in one interval."""
    gains = np.array([low, high], np.float64)
    least, most = gains.sum(axis=1)
    if least * WIDEST <= most:
        return [_on_the_simplex(shares)]
    sums = np.geomspace(least, most, PIECES + 1)
    room = 8.0 * shares.size * EPSILON
    boxes = ((gains[0] / above * (1.0 - room), gains[1] / below * (1.0 + room)) for below, above in pairwise(sums))
    return [_on_the_simplex(np.array([np.maximum(shares[0], a), np.minimum(shares[1], b)])) for a, b in boxes]


def _in_unit(instance: Instance, low: Arrayish, high: Arrayish) -> Array:
    """The gains in a unit in which their sum s is about 1: in the middle of the box; for e > 1 in the one in which
    1 + e (s - 1) comes nearest to s^e at both ends."""
    ends, exponent = np.array([low, high], np.float64), max(_exponents(instance))
    sums = ends.sum(axis=1)
    units = np.linspace(sums[0], sums[1], UNITS)[1:-1] if exponent > 1.0 else np.array([sums.mean()])
    s = np.maximum(sums[:, None] / units, TINY)
    nearness = ((1.0 + exponent * (s - 1.0)) / s**exponent).min(axis=0)
    scaled: Array = ends / units[int(nearness.argmax())]
    return scaled


def _shares(low: Array, high: Array) -> Array:
    """Every share when the others stand at their other end."""
    totals = low + _others(high), high + _others(low)
    ends = [
        np.divide(own, total, out=np.zeros_like(own), where=own > 0.0)
        for own, total in zip((low, high), totals, strict=True)
    ]
    return np.array(ends)


def _on_the_simplex(ends: Array) -> Array:
    """No share is below what the others at their highest leave to it, or above what they leave at their lowest."""
    low, high = ends
    doubt = _simplex_doubt(high)
    return np.array([np.maximum(low, 1.0 - _others(high) - doubt), np.minimum(high, 1.0 - _others(low) + doubt)])


def _simplex_doubt(high: Array) -> float:
    """What rounding may make of a sum of shares."""
    return 4.0 * high.size * EPSILON * max(1.0, float(high.sum()))


def _others(values: Array) -> Array:
    """The sum of all but one; no large one is added and taken off again."""
    before, after = np.cumsum(values[:-1]), np.cumsum(values[:0:-1])[::-1]
    others: Array = np.append(0.0, before) + np.append(after, 0.0)
    return others
