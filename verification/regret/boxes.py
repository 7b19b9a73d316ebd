"""Boxes of scores: weights at both ends of every interval, with the divisor and the sizes of a bound.

    gains          where F is homogeneous of degree e in them (the resource has no declared price, all terms have one
                   exponent), R at the shares is R at the gains over s^e, with s their sum in a unit that makes it about
                   1, and a relative R is the same. s^e >= 1 + e (s - 1) for e >= 1; for e < 1 it is at least
                   sum c_k^(1-e) w_k, with c the middle of the box in shares (Hoelder).
    shares         the sizes are the shares for e >= 1, else c_k^(1-e) w_k as above.
    other gains    the interval of s is cut into pieces; gains over s are in a box of shares for each.

A share of gains lies between low_k / (low_k + sum of the other high) and the reverse, and leaves no less than 0 to the
others.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from zetaplan.errors import SpecError, shown
from zetaplan.spec.checks import numbers
from zetaplan.spec.instance import EPSILON, Array, Arrayish, Instance, weights
from zetaplan.spec.named import in_order
from zetaplan.verification.regret.lagrangian import declared_price, exponents
from zetaplan.verification.regret.quotient import Chances, mixed

PIECES = 16  # of the interval of the sum of the gains, if F is not homogeneous
UNITS = 65  # units of the gains to try
TINY = 1e-30  # least sum of gains
WIDEST = 1e3  # largest ratio of the ends of the sum of the gains


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
        """The least divisor over the box."""
        return float(self.parts.min(axis=0).sum()) + self.rest

    def columns(self, values: Array) -> Array:
        """Values (2, T, K) added up over the decisions that share their end, (2, C)."""
        return values.sum(axis=1) if self.tied else values.reshape(2, -1)

    def mean(self, values: Array, chances: Chances) -> Array:
        """The mean of values (2, T, K) over the ends, with the chances (C,) of the higher ends: (T, K)."""
        return mixed(values, chances if self.tied else chances.reshape(values.shape[1:]))

    def halves(self, column: int) -> Iterator[Box]:
        """Two boxes that cover this one: a column at either end, or for shares on either side of its middle.

        R - t divisor is convex in every weight, so only corners count. On the simplex one share can be between its
        ends. The proof `boxes` covers both cases.
        """
        entry = (slice(None), column) if self.tied else np.unravel_index(column, self.weights.shape[1:])
        for end in (0, 1):
            half = self._replace(weights=self.weights.copy(), parts=self.parts.copy(), sizes=self.sizes.copy())
            for values, place in ((half.weights, entry), (half.parts, (column,)), (half.sizes, (column,))):
                ends = values[(slice(None), *place)]
                ends[1 - end] = ends.mean(axis=0) if self.sizes.any() else ends[end]
            yield half


def regret_boxes(instance: Instance, low: Arrayish, high: Arrayish, normalised: bool) -> list[Box]:
    """The boxes for a bound on the regret. low, high : (K,) gains, or shares if `normalised`."""
    low, high = vector("low", low, instance), vector("high", high, instance)
    shares = quality_ends(instance, low, high, normalised)
    if not normalised and _scalable(instance):
        gains = _divided(instance, _in_unit(instance, low, high))
        if gains.least > 0.0:
            return [gains]
    return [_sized(instance, ends) for ends in ([shares] if normalised else _pieces(low, high, shares))]


def relative_boxes(instance: Instance, low: Arrayish, high: Arrayish) -> list[Box]:
    """The boxes for a bound relative to the best objective. low, high : (K,) gains."""
    low, high = vector("low", low, instance), vector("high", high, instance)
    shares = quality_ends(instance, low, high, False)
    if _scalable(instance):
        return [_plain(instance, _in_unit(instance, low, high))]
    return [_sized(instance, ends) for ends in _pieces(low, high, shares)]


def decision_box(instance: Instance, low: Arrayish, high: Arrayish, normalised: bool) -> Box:
    """One box with separate ends for every decision and without sizes."""
    low, high = vector("low", low, instance), vector("high", high, instance)
    shares = quality_ends(instance, low, high, normalised)
    box = _divided(instance, _in_unit(instance, low, high) if not normalised and _scalable(instance) else shares)
    return box if len(instance.program.terms) == 1 and box.least > 0.0 else _plain(instance, shares, tied=False)


def quality_ends(instance: Instance, low: Arrayish, high: Arrayish, normalised: bool) -> Array:
    """The lowest and the highest share of every layer, (2, K). Raises SpecError for an empty or invalid box."""
    if normalised is not False and normalised is not True:
        raise SpecError(f"normalised = {shown(normalised)}: expected True or False")
    below, above = vector("low", low, instance), vector("high", high, instance)
    if (below > above).any():
        k = int(np.flatnonzero(below > above)[0])
        raise SpecError(f"low[{k}] = {below[k]:g} is above high[{k}] = {above[k]:g}; exchange them")
    if not above.any():
        raise SpecError("high: all zero, so all layers rank equally; give a box around measured gains")
    if not normalised:
        return _on_the_simplex(_shares(below, above))
    doubt = _simplex_doubt(above)
    if below.sum() > 1.0 + doubt or above.sum() < 1.0 - doubt:
        raise SpecError(
            f"low, high: no shares in this box sum to 1, only to between {below.sum():.3g} and {above.sum():.3g}; "
            "for a box of gains leave out normalised=True"
        )
    return _on_the_simplex(np.array([below, above]))


def vector(name: str, values: Arrayish, instance: Instance) -> Array:
    """The values as one number >= 0 per layer, (K,). Raises SpecError otherwise."""
    found = numbers(name, in_order(name, values, instance.names))
    if found.shape != instance.quality.shape:
        raise SpecError(f"{name}: expected {instance.quality.size} numbers, one per layer, got shape {found.shape}")
    wrong = ~(np.isfinite(found) & (found >= 0.0))
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise SpecError(f"{name}[{k}] = {found[k]:g}: expected a finite number of at least 0")
    return found


def _scalable(instance: Instance) -> bool:
    """Whether F is homogeneous in the gains: the declared price is 0 and all exponents are equal."""
    return declared_price(instance) == 0.0 and len(set(exponents(instance))) == 1


def _plain(instance: Instance, ends: Array, tied: bool = True) -> Box:
    """A box with divisor 1 and without sizes. ends : (2, K) of the scores."""
    layers, terms = ends.shape[1], len(instance.program.terms)
    rows = np.reshape([weights(instance.program, q, instance.parameters) for q in ends], (2, terms, layers))
    nothing = np.zeros((2, layers if tied else terms * layers))
    return Box(rows, tied, nothing, 1.0, nothing)


def _divided(instance: Instance, ends: Array) -> Box:
    """A box whose divisor is a lower bound on s^e; for programs of one exponent with a divisor above 0."""
    box, (exponent, *_) = _plain(instance, ends), exponents(instance)
    if exponent < 1.0:
        return box._replace(parts=_sizes(ends, exponent), rest=0.0)
    return box._replace(parts=exponent * ends, rest=1.0 - exponent)


def _sized(instance: Instance, ends: Array) -> Box:
    """A box of shares, which sum to 1. With different exponents every decision has its own ends."""
    powers = exponents(instance)
    tied = len(set(powers)) == 1
    rows = [_sizes(ends, exponent) / len(powers) for exponent in powers]
    sizes = len(rows) * rows[0] if tied else np.concatenate(rows, axis=1)
    return _plain(instance, ends, tied)._replace(sizes=sizes, exact=set(powers) == {1.0})


def _sizes(ends: Array, exponent: float) -> Array:
    """Sizes that are concave in w = q^e with a sum of at most s^min(e, 1): the shares, or c^(1-e) w."""
    if exponent >= 1.0:
        return ends
    middle = ends.mean(axis=0)
    sizes: Array = (middle / middle.sum()) ** (1.0 - exponent) * ends**exponent
    return sizes


def _pieces(low: Arrayish, high: Arrayish, shares: Array) -> list[Array]:
    """Boxes of shares that cover all gains, one for each interval of the sum of the gains."""
    gains = np.array([low, high], np.float64)
    least, most = gains.sum(axis=1)
    if least * WIDEST <= most:
        return [_on_the_simplex(shares)]
    sums = np.geomspace(least, most, PIECES + 1)
    room = 8.0 * shares.size * EPSILON
    boxes = ((gains[0] / above * (1.0 - room), gains[1] / below * (1.0 + room)) for below, above in pairwise(sums))
    return [_on_the_simplex(np.array([np.maximum(shares[0], a), np.minimum(shares[1], b)])) for a, b in boxes]


def _in_unit(instance: Instance, low: Arrayish, high: Arrayish) -> Array:
    """The gains in a unit with s about 1: the middle of the box, or for e > 1 the unit in which 1 + e (s - 1) is
    nearest to s^e at both ends."""
    ends, exponent = np.array([low, high], np.float64), max(exponents(instance))
    sums = ends.sum(axis=1)
    units = np.linspace(sums[0], sums[1], UNITS)[1:-1] if exponent > 1.0 else np.array([sums.mean()])
    s = np.maximum(sums[:, None] / units, TINY)
    nearness = ((1.0 + exponent * (s - 1.0)) / s**exponent).min(axis=0)
    scaled: Array = ends / units[int(nearness.argmax())]
    return scaled


def _shares(low: Array, high: Array) -> Array:
    """The lowest and the highest share, with all others at their opposite end."""
    totals = low + _others(high), high + _others(low)
    ends = [
        np.divide(own, total, out=np.zeros_like(own), where=own > 0.0)
        for own, total in zip((low, high), totals, strict=True)
    ]
    return np.array(ends)


def _on_the_simplex(ends: Array) -> Array:
    """Clip each share to 1 minus the sum of the others at their highest and at their lowest."""
    low, high = ends
    doubt = _simplex_doubt(high)
    return np.array([np.maximum(low, 1.0 - _others(high) - doubt), np.minimum(high, 1.0 - _others(low) + doubt)])


def _simplex_doubt(high: Array) -> float:
    """Bound on the rounding of a sum of shares."""
    return 4.0 * high.size * EPSILON * max(1.0, float(high.sum()))


def _others(values: Array) -> Array:
    """The sum of all entries but one, without subtraction."""
    before, after = np.cumsum(values[:-1]), np.cumsum(values[:0:-1])[::-1]
    others: Array = np.append(0.0, before) + np.append(after, 0.0)
    return others
