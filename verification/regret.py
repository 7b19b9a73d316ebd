"""Bounds on the regret R = F_T(x_S) - min F_T of a source's plan, for all target scores in a box; no solver is used.

dual-endpoint  R <= sum_k max over ends e of [L_ke(x_k) - min_y L_ke(y)] + spare, L the Lagrangian at any price >= 0:
               weak duality, convex in every weight (method 5.6). Needs nothing. The price is moved in search of less,
               and the layer that adds most is held at either end in turn, each time with a price of its own.
separable      R <= sum_k (Lq_k |dq_k|)^2 / (2 mu_k): the variational inequality of x_S, layer by layer (method 5.5).
variational    R <= L_q^2 |dq|^2 / (2 mu): the same with one constant for all layers.
theorem-4      R <= L L_q^2 |dq|^2 / (2 mu^2): the paper's, looser by the condition number L / mu >= 1.

The last three need mu > 0 and a source's plan that is optimal for the source. Their constants are those of the
declaration, at the worse end of the box; |dq| is to the farther end. A box is one of shares q: of gains that are
normalised afterwards, each share lies between low_k / (low_k + sum of the other high) and the reverse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from scipy.optimize import minimize_scalar

from zetaplan.errors import SpecError
from zetaplan.spec.constants import Constants, constants
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import EPSILON, Array, Arrayish, Instance, weights
from zetaplan.spec.solution import Solution

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
    w = np.array([weights(instance.program, q, instance.parameters) for q in ends])
    return _branched(instance, w, solution.x, solution.multiplier, BRANCHES)


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


def _branched(instance: Instance, w: Array, x: Array, price: float, branches: int) -> RegretBound:
    """The least of one proof for the whole box, and of two for its halves."""
    whole, found = _tightest(instance, w, x, price)
    adds = np.asarray(whole.layers).reshape(-1, instance.quality.size).sum(axis=0)
    k = int(adds.argmax())
    if branches == 0 or adds[k] == 0.0:
        return whole
    halves = []
    for end in (0, 1):
        held = w.copy()
        held[..., k] = w[end, ..., k]
        halves.append(_branched(instance, held, x, found, branches - 1))
    return min(whole, max(halves, key=_value), key=_value)


def _value(bound: RegretBound) -> float:
    return bound.value


def _tightest(instance: Instance, w: Array, x: Array, price: float) -> tuple[RegretBound, float]:
    """The least bound that a price near the given one proves, and that price."""
    if price == 0.0:
        return _dual(instance, w, x, 0.0), 0.0
    nearby = minimize_scalar(
        lambda power: _dual(instance, w, x, price * math.exp(power)).value,
        bounds=(-REACH, REACH),
        method="bounded",
        options={"xatol": 1e-3},
    )
    tried = [(_dual(instance, w, x, p), p) for p in (price, price * math.exp(float(nearby.x)))]
    return min(tried, key=lambda item: item[0].value)


def _dual(instance: Instance, w: Array, x: Array, price: float) -> RegretBound:
    """The bound that one price proves, rounded up."""
    sign, rows, spare, size = instance.program.sign, [], price * instance.program.sign * instance.limit, 0.0
    for t, (derivation, given, plan) in enumerate(
        zip(derive(instance.program), instance.channels, instance.rows(x), strict=True)
    ):
        use = sign * price * given.term.usage * given.data
        gaps = []
        for weight in w if len(instance.channels) == 1 else w[:, t]:
            channel = given._replace(weight=weight)
            best = derivation.stationary(price, channel, instance.scalars)
            own, least = (derivation.objective(y, 0.0, weight, given.data, *instance.scalars) for y in (plan, best))
            gaps.append(np.maximum(own + use * plan - (least + use * best), 0.0))
            size += float((np.abs(own) + np.abs(least) + np.abs(use * plan) + np.abs(use * best)).sum())
        rows.append(np.maximum(*gaps))
        spare -= float(use @ plan)
    layers = rows[0] if len(rows) == 1 else np.stack(rows)
    rounding = (x.size + 16) * EPSILON * (size + abs(price * instance.limit))
    return RegretBound(float(layers.sum()) + max(spare, 0.0) + rounding, "dual-endpoint", layers)


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
