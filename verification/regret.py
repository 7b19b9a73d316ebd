"""Bounds on the regret R = F_T(x_S) - min F_T of a source's plan, for all target scores in a box; no solver is used.

dual-endpoint  R <= sum_k max over ends e of [L_ke(x_k) - min_y L_ke(y)] + spare, L the Lagrangian at any price >= 0:
               weak duality, convex in every weight (method 5.6). Needs nothing. The price is moved in search of less,
               and the layer that adds most is held at either end in turn, each time with a price of its own.
separable      R <= sum_k (Lq_k |dq_k|)^2 / (2 mu_k): the variational inequality of x_S, layer by layer (method 5.5).
variational    R <= L_q^2 |dq|^2 / (2 mu): the same with one constant for all layers.
theorem-4      R <= L L_q^2 |dq|^2 / (2 mu^2): the paper's, looser by the condition number L / mu >= 1.

The last three need mu > 0 and a source's plan that is optimal for the source. Their constants are those of the
declaration, at the worse end of the box; |dq| is to the farther end.

A box is one of gains, which are normalised afterwards. Each share then lies between low_k / (low_k + sum of the other
high) and the reverse: sound for every bound, and loose, for shares cannot all rise. Where the resource has no price of
its own and all exponents are e >= 1, the dual ends do better: F is homogeneous, R at the shares is R at the gains over
s^e with s their sum (nominally 1), s^e >= 1 + e (s - 1), and the largest quotient of the two separable sums is found by
Dinkelbach's method (see `relative_regret`). That loses nothing for e = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import numpy as np
from scipy.optimize import minimize_scalar

from zetaplan.errors import SpecError
from zetaplan.spec.constants import Constants, constants
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import EPSILON, Array, Arrayish, Instance, weights
from zetaplan.spec.solution import Solution
from zetaplan.verification.relative_regret import largest_quotient

Kind = Literal["dual-endpoint", "separable", "variational", "theorem-4"]

NEEDS: dict[Kind, str] = {
    "dual-endpoint": "nothing: any plan within the limit, any price",
    "separable": "an optimal plan, and strong convexity of every layer",
    "variational": "an optimal plan, and strong convexity",
    "theorem-4": "an optimal plan, strong convexity and smoothness",
}
REACH = 1.0  # how far the price is moved, as a power of e either way
BRANCHES = 2  # how many layers are held at either end in turn


@dataclass(frozen=True, eq=False)
class RegretBound:
    """What a plan can lose while the scores stay in a box, in the unit of the objective.

    value : R <= value for all scores in the box; infinite where nothing is proved. kind, needs : what proves it.
    layers : what each layer adds, in the plan's shape; None where only the sum is known.
    """

    value: float
    kind: Kind
    layers: Array | None

    @property
    def needs(self) -> str:
        """What the bound assumes."""
        return NEEDS[self.kind]

    def __str__(self) -> str:
        return f"regret is at most {self.value:.4g} for all scores in the box, by {self.kind} (needs {self.needs})"


def regret_bound(
    instance: Instance,
    solution: Solution,
    *,
    low: Arrayish,
    high: Arrayish,
    kind: Kind = "dual-endpoint",
    normalised: bool = False,
) -> RegretBound:
    """Bound the regret of a plan over a box of scores.

    instance : the source's program. solution : its plan x and multiplier.
    low, high : (K,) 0 <= low <= high, gains in any unit, or shares q if `normalised`. kind : see this module.

    Raises SpecError for another kind, for other shapes, and for ends in the wrong order.
    """
    if kind not in get_args(Kind):
        raise SpecError(f"kind = {kind!r}: expected one of {', '.join(get_args(Kind))}")
    ends = quality_ends(instance, low, high, normalised)
    if kind != "dual-endpoint":
        return _by_constants(instance, ends, kind)
    return _branched(
        instance, _corners(instance, ends, low, high, normalised), solution.x, solution.multiplier, BRANCHES
    )


def quality_ends(instance: Instance, low: Arrayish, high: Arrayish, normalised: bool) -> Array:
    """The lowest and the highest share of every layer, (2, K)."""
    below, above = _vector("low", low, instance), _vector("high", high, instance)
    if (below > above).any():
        k = int(np.flatnonzero(below > above)[0])
        raise SpecError(f"low[{k}] = {below[k]:g} is above high[{k}] = {above[k]:g}; exchange them")
    if not above.any():
        raise SpecError("high: all zero, so no layer is better than another; give a box around measured gains")
    return np.array([below, above] if normalised else [_shares(below, above), _shares(above, below)])


def box_constants(instance: Instance, ends: Array) -> Constants:
    """mu_k, L_k and Lq_k at the worse end of every share: f'' and its change with q are monotone in q."""
    found = [
        constants(replace(instance, quality=q, weight=weights(instance.program, q, instance.parameters))) for q in ends
    ]
    return Constants(
        np.minimum(*(c.strong_convexity for c in found)),
        np.maximum(*(c.smoothness for c in found)),
        np.maximum(*(c.score_lipschitz for c in found)),
    )


class _Corners(NamedTuple):
    """Weights at both ends, (2, K) or (2, T, K), and what the regret there is divided by: sum of parts + rest."""

    weights: Array
    parts: Array
    rest: float


def _corners(instance: Instance, ends: Array, low: Arrayish, high: Arrayish, normalised: bool) -> _Corners:
    exponent = _degree(instance)
    parts, rest = np.zeros_like(ends), 1.0
    if not normalised and exponent is not None:
        gains = np.array([low, high], np.float64)
        ends = gains / (0.5 * float(gains.sum()))
        parts, rest = exponent * ends, 1.0 - exponent
        if float(parts[0].sum()) + rest <= 0.0:  # the tangent is of no use over a box as wide as this
            return _corners(instance, quality_ends(instance, low, high, False), low, high, True)
    return _Corners(np.array([weights(instance.program, q, instance.parameters) for q in ends]), parts, rest)


def _degree(instance: Instance) -> float | None:
    """e where F is homogeneous of degree e >= 1 in the gains; None where a price or different exponents spoil that."""
    symbols = {term.exponent for term in instance.program.terms}
    exponents = {instance.parameters[scalar.name] for scalar in instance.program.scalars if scalar.symbol in symbols}
    prices = {float(derivation.declared_price_of(*instance.scalars)) for derivation in derive(instance.program)}
    if len(exponents) != 1 or prices != {0.0} or min(exponents) < 1.0:
        return None
    return exponents.pop()


def _by_constants(instance: Instance, ends: Array, kind: Kind) -> RegretBound:
    c = box_constants(instance, ends)
    drift = np.abs(ends - instance.quality).max(axis=0)
    if kind == "separable":
        layers = _quotient((c.score_lipschitz * drift) ** 2, 2 * c.strong_convexity)
        return RegretBound(float(layers.sum()), kind, layers)
    value = float(_quotient(np.array(c.L_q**2 * float(drift @ drift)), np.array(2 * c.mu)))
    if kind == "theorem-4" and value > 0:
        value *= float(_quotient(np.array(c.L), np.array(c.mu)))
    return RegretBound(value, kind, None)


def _branched(instance: Instance, box: _Corners, x: Array, price: float, branches: int) -> RegretBound:
    """The least of one proof for the whole box, and of two for its halves."""
    whole, found = _tightest(instance, box, x, price)
    adds = np.asarray(whole.layers).reshape(-1, instance.quality.size).sum(axis=0)
    k = int(adds.argmax())
    if branches == 0 or adds[k] == 0.0:
        return whole
    halves = []
    for end in (0, 1):
        held = box._replace(weights=box.weights.copy(), parts=box.parts.copy())
        held.weights[..., k], held.parts[:, k] = box.weights[end, ..., k], box.parts[end, k]
        halves.append(_branched(instance, held, x, found, branches - 1))
    return min(whole, max(halves, key=_value), key=_value)


def _value(bound: RegretBound) -> float:
    return bound.value


def _tightest(instance: Instance, box: _Corners, x: Array, price: float) -> tuple[RegretBound, float]:
    """The least bound that a price near the given one proves, and that price."""
    if price == 0.0:
        return _dual(instance, box, x, 0.0), 0.0
    nearby = minimize_scalar(
        lambda power: _dual(instance, box, x, price * math.exp(power)).value,
        bounds=(-REACH, REACH),
        method="bounded",
        options={"xatol": 1e-3},
    )
    tried = [(_dual(instance, box, x, p), p) for p in (price, price * math.exp(float(nearby.x)))]
    return min(tried, key=lambda item: item[0].value)


def _dual(instance: Instance, box: _Corners, x: Array, price: float) -> RegretBound:
    """The bound that one price proves, rounded up."""
    sign, rows, spare, size = instance.program.sign, [], price * instance.program.sign * instance.limit, 0.0
    for t, (derivation, given, plan) in enumerate(
        zip(derive(instance.program), instance.channels, instance.rows(x), strict=True)
    ):
        use = sign * price * given.term.usage * given.data
        gaps = []
        for weight in box.weights if len(instance.channels) == 1 else box.weights[:, t]:
            channel = given._replace(weight=weight)
            best = derivation.stationary(price, channel, instance.scalars)
            own, least = (derivation.objective(y, 0.0, weight, given.data, *instance.scalars) for y in (plan, best))
            gaps.append(np.maximum(own + use * plan - (least + use * best), 0.0))
            size += float((np.abs(own) + np.abs(least) + np.abs(use * plan) + np.abs(use * best)).sum())
        rows.append(np.array(gaps))
        spare -= float(use @ plan)
    rounding = (x.size + 16) * EPSILON * (size + abs(price * instance.limit))
    if not box.parts.any():  # shares as they are: the ends of several terms are free of each other
        layers = [gaps.max(axis=0) for gaps in rows]
        value = float(np.sum(layers)) + max(spare, 0.0) + rounding
        return RegretBound(value, "dual-endpoint", layers[0] if len(rows) == 1 else np.stack(layers))
    gaps = np.sum(rows, axis=0)
    least = float(box.parts.min(axis=0).sum()) + box.rest
    value, left, chosen = largest_quotient(gaps, box.parts, max(spare, 0.0), box.rest)
    value += (max(left, 0.0) + rounding) / least
    whole = float(np.take_along_axis(box.parts, chosen, 0).sum()) + box.rest
    layers = [np.take_along_axis(of_term, chosen, 0)[0] / whole for of_term in rows]
    return RegretBound(value, "dual-endpoint", layers[0] if len(rows) == 1 else np.stack(layers))


def _shares(own: Array, others: Array) -> Array:
    """own_k / (own_k + sum of the others but k)."""
    total = own + np.maximum(others.sum() - others, 0.0)
    shares: Array = np.divide(own, total, out=np.zeros_like(own), where=total > 0.0)
    return shares


def _quotient(top: Array, bottom: Array) -> Array:
    """top / bottom with 0 / 0 = 0: where nothing moves, nothing is lost."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = np.where(top == 0.0, 0.0, top / bottom)
    return found


def _vector(name: str, values: Arrayish, instance: Instance) -> Array:
    vector = np.asarray(values, np.float64)
    if vector.shape != instance.quality.shape:
        raise SpecError(f"{name}: expected {instance.quality.size} numbers, one per layer, got shape {vector.shape}")
    if not (np.isfinite(vector) & (vector >= 0.0)).all():
        k = int(np.flatnonzero(~(np.isfinite(vector) & (vector >= 0.0)))[0])
        raise SpecError(f"{name}[{k}] = {vector[k]:g}: expected a finite number of at least 0")
    return vector
