"""The constants of a program over its box, derived from the declaration: mu, L and L_q (Theorem 4, assumptions i-iii).

    mu_k  = min f''(x)               strong convexity of layer k
    L_k   = max f''(x)               smoothness of layer k
    Lq_k  = max |d^2 f / dx dq|      Lipschitz constant of the layer's gradient in its own quality

f'' and the mixed derivative of every declared term are monotone in x, so their extremes are at the ends of the box.
The budget provides an upper end where the box has none. The program is separable, so mu is the least mu_k and L is the
largest L_k. L_q is the largest Lq_k, or the largest norm of a layer's vector of Lq_k if it has several decisions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zetaplan._display import Columns, Display, table
from zetaplan.errors import require
from zetaplan.spec.derivation import Derivation, Function, derive
from zetaplan.spec.instance import Array, Channel, Instance
from zetaplan.spec.values import Value


@dataclass(frozen=True, eq=False, repr=False)
class Constants(Value, Display):
    """Constants of the objective, arrays of the plan's shape; infinite where a derivative has no bound.

    Examples:
        >>> found = zp.constants(zp.pruning([1, 3], sizes=1.0, target=1.0))
        >>> found.strong_convexity  # 2 eta q, layer by layer
        array([0.5, 1.5])
    """

    strong_convexity: Array
    smoothness: Array
    score_lipschitz: Array

    @property
    def mu(self) -> float:
        return float(self.strong_convexity.min())

    @property
    def L(self) -> float:  # the letter of the theorem
        return float(self.smoothness.max())

    @property
    def L_q(self) -> float:
        return float(np.linalg.norm(np.atleast_2d(self.score_lipschitz), axis=0).max())

    def _headline(self) -> str:
        return f"mu = {self.mu:.4g}, L = {self.L:.4g}, L_q = {self.L_q:.4g}"

    def _columns(self) -> Columns:
        known = ("strong_convexity", "smoothness", "score_lipschitz")
        return table({name: getattr(self, name) for name in known})


def constants(instance: Instance) -> Constants:
    """mu, L and L_q of every decision over the reachable part of its box.

    L_q is computed at the instance's own quality and does not hold for other scores: if the exponent is below 1, L_q
    grows without bound as a quality falls to 0 (and mu falls to 0 with the weight).

    Examples:
        >>> found = zp.constants(zp.pruning([1, 3], sizes=1.0, target=1.0))
        >>> found.mu, found.L
        (0.5, 1.5)
    """
    require(instance, Instance, "instance", "make one with zetaplan.allocation, or another program")
    rows = [
        _ends(derivation, channel, reach, instance)
        for derivation, channel, reach in zip(
            derive(instance.program), instance.channels, reachable(instance), strict=True
        )
    ]
    stacked = [row[0] if len(rows) == 1 else np.stack(row) for row in zip(*rows, strict=True)]
    return Constants(*stacked)


def reachable(instance: Instance) -> list[Array]:
    """Upper bound on each decision over all plans within the limit, one array (K,) per term."""
    spare = instance.limit * instance.program.sign
    for channel in instance.channels:
        least = channel.lower if instance.program.costs(channel.term) else channel.upper
        spare -= instance.program.sign * channel.term.usage * float(channel.unit_cost @ least)
    return [
        np.minimum(channel.upper, channel.lower + max(spare, 0.0) / channel.unit_cost)
        if instance.program.costs(channel.term)
        else channel.upper
        for channel in instance.channels
    ]


def _ends(derivation: Derivation, channel: Channel, reach: Array, instance: Instance) -> tuple[Array, Array, Array]:
    scalars = instance.scalars
    exponent = dict(zip((s.symbol for s in instance.program.scalars), scalars, strict=True))[channel.term.exponent]
    with np.errstate(divide="ignore", invalid="ignore"):
        curvature = [_at(derivation.curvature, x, channel, scalars) for x in (channel.lower, reach)]
        mixed = [np.abs(_at(derivation.mixed, x, channel, scalars)) for x in (channel.lower, reach)]
        chain = exponent * instance.quality ** (exponent - 1.0)  # dw/dq
        largest = np.maximum(*mixed)
        lipschitz = np.where(largest * exponent > 0.0, largest * chain, 0.0)  # 0 inf = 0 at exponent 0
    return np.minimum(*curvature), np.maximum(*curvature), lipschitz


def _at(function: Function, x: Array, channel: Channel, scalars: tuple[float, ...]) -> Array:
    values = function(x, 0.0, channel.weight, channel.unit_cost, *scalars)
    return np.broadcast_to(values, x.shape)
